"""Packets and bounds leave a run for its listener, in the order in which they came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.packet import Packet
from ovms_mp.core.tuples import make

if TYPE_CHECKING:
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.flow import Flow
    from ovms_mp.graph.listener import BoundListener, RunListener
    from ovms_mp.graph.stream import Stream


class Delivery:
    """Of one run."""

    __slots__ = ("_flow", "_listener")

    def __init__(self, flow: Flow, listener: RunListener) -> None:
        self._flow = flow
        self._listener = listener

    def deliver(self) -> None:
        """What has been produced."""
        flow, listener = self._flow, self._listener
        produced, flow.produced = flow.produced, []
        for output, timestamp, payload in produced:
            if payload is EMPTY:
                cast("BoundListener", listener).bound(output, timestamp)
            else:
                listener.packet(output, Packet(timestamp, payload))

    def at_once(
        self, stream: Stream, timestamp: Timestamp, payload: Any, bound: Timestamp
    ) -> None:
        """A packet of a stream that has taps and is at rest, after what was produced
        before it: see `lane`.
        """
        flow = self._flow
        if flow.produced:
            flow.deliver(stream, timestamp, payload, bound)
            self.deliver()
            return
        packet = make(Packet, (timestamp, payload))
        for tap in stream.taps:
            tap.bound = bound
            tap.settled = timestamp
            tap.was_fed = True
            self._listener.packet(tap.output, packet)

"""A node sees what came of the packet before: PreviousLoopbackCalculator.

    node {
      calculator: "PreviousLoopbackCalculator"
      input_stream: "MAIN:frames"
      input_stream: "LOOP:landmarks"
      input_stream_info: { tag_index: "LOOP" back_edge: true }
      output_stream: "PREV_LOOP:previous_landmarks"
    }

As MediaPipe's: for each packet of MAIN the packet of LOOP that belongs to the packet of
MAIN before it leaves, at the new timestamp; a bound instead where there is none, as for
the first packet. Bounds of both inputs are processed, so that no one waits in vain.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from ovms_mp.calculator import EMPTY, Calculator, Input, Output, tagged
from ovms_mp.core.timestamp import MAX, UNSET, UNSTARTED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort
    from ovms_mp.core.timestamp import Timestamp

_NO_LOOP: Final = UNSET
"""Belongs to a bound of MAIN: no packet of LOOP is for it."""


class PreviousLoopbackCalculator(Calculator):
    """Pairs each time of MAIN with the loop packet of the packet before."""

    is_short = True
    input_policy = "ImmediateInputStreamHandler"
    process_timestamp_bounds = True

    main = Input(Any, "MAIN")
    loop = Input(Any, "LOOP")
    previous = Output(Any, "PREV_LOOP")

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """The loop, of the time before."""
        (loop,), outputs = tagged(node.inputs, "LOOP"), node.outputs
        return [(loop, each) for each in outputs]

    def open(self, ctx: Context) -> None:
        """Nothing has come."""
        self._wanted: deque[tuple[Timestamp, Timestamp]] = deque()
        self._last_main: Timestamp = UNSTARTED
        self._last_packet: Timestamp = UNSTARTED
        self._loops: deque[tuple[Timestamp, Any]] = deque()
        self._last_loop: Timestamp = UNSET
        self._is_closed = False

    def process(self, ctx: Context) -> None:
        """Note what is new on both sides, then pair what can be paired."""
        settled = ctx.settled(self.main)
        if self._last_main < settled:
            belongs = _NO_LOOP
            if ctx.has(self.main):
                belongs, self._last_packet = self._last_packet, settled
            self._wanted.append((settled, belongs))
            self._last_main = settled
        settled = ctx.settled(self.loop)
        if self._last_loop < settled:
            self._loops.append((settled, ctx.get(self.loop, EMPTY)))
            self._last_loop = settled
        while self._wanted and self._loops:
            self._pair(ctx)

    def _pair(self, ctx: Context) -> None:
        timestamp, belongs = self._wanted[0]
        found, payload = self._loops[0]
        if belongs > found:
            self._loops.popleft()
            return
        self._wanted.popleft()
        if belongs == found:
            self._loops.popleft()
        if self._is_closed:
            return
        if belongs == found and payload is not EMPTY:
            ctx.send(self.previous, payload, at=timestamp)
        else:
            ctx.set_next_bound(self.previous, timestamp + 1)
        if timestamp == MAX:
            self._is_closed = True
            ctx.close(self.previous)

"""A consumer's end of a stream: the packets that wait, and the bound before which no
more will come. Bounds never go back (MediaPipe, framework/input_stream_manager.h).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.timestamp import PRESTREAM, describe

if TYPE_CHECKING:
    from ovms_mp.core.packet import Packet
    from ovms_mp.core.timestamp import Timestamp


class TimestampMismatch(Exception):
    """A packet came at a timestamp that its stream has already passed."""

    def __init__(self, stream: str, expected: Timestamp, received: Timestamp) -> None:
        super().__init__(
            "Packet timestamp mismatch on a calculator receiving from stream "
            f'"{stream}". Current minimum expected timestamp is {describe(expected)} '
            f"but received {describe(received)}."
        )


class InputStream:
    """The queue between one producer and one input of one node."""

    __slots__ = ("bound", "packets")

    def __init__(self) -> None:
        self.packets: deque[Packet] = deque()
        self.bound: Timestamp = PRESTREAM

    def take(self, timestamp: Timestamp) -> Any:
        """The payload at `timestamp`, taken off the queue, or EMPTY."""
        packets = self.packets
        if packets and packets[0].timestamp == timestamp:
            return packets.popleft().payload
        return EMPTY

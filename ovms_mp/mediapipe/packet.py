"""mediapipe.Packet: a payload that nobody changes, and a timestamp."""

from __future__ import annotations

from typing import Any

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.timestamp import UNSET
from ovms_mp.mediapipe.payloads import type_name
from ovms_mp.mediapipe.timestamp import Timestamp, number, value_string


class Packet:
    """Empty, or a copy of another; packet_creator makes those with a payload."""

    __slots__ = ("_at", "_payload")

    def __init__(self, packet: Packet | None = None) -> None:
        self._payload: Any = EMPTY if packet is None else packet.payload
        self._at = UNSET if packet is None else packet.microseconds

    @classmethod
    def of(cls, payload: Any, at: int = UNSET) -> Packet:
        """A packet around any Python value, as our calculators take it."""
        packet = cls()
        packet._payload, packet._at = payload, at
        return packet

    @property
    def payload(self) -> Any:
        """The value itself; mediapipe has nothing of the kind."""
        return self._payload

    @property
    def microseconds(self) -> int:
        """The timestamp's value."""
        return self._at

    def is_empty(self) -> bool:
        """True if there is no payload."""
        return self._payload is EMPTY

    def at(self, timestamp: Timestamp | int) -> Packet:
        """The same payload at another timestamp."""
        return Packet.of(self._payload, number(timestamp))

    @property
    def timestamp(self) -> Timestamp:
        """UNSET unless it was set."""
        return Timestamp.of(self._at)

    @timestamp.setter
    def timestamp(self, timestamp: Timestamp | int) -> None:
        self._at = number(timestamp)

    def __repr__(self) -> str:
        what = "no data" if self.is_empty() else f"C++ type: {type_name(self._payload)}"
        return f"<mediapipe.Packet with timestamp: {value_string(self._at)} and {what}>"

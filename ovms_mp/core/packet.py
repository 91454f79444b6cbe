"""A packet is a payload at a timestamp; it never changes and may be shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ovms_mp.core.timestamp import Timestamp


class Packet(NamedTuple):
    """What travels on a stream. Consumers share the payload: nobody may write to it."""

    timestamp: Timestamp
    payload: Any


new_packet: Final[Callable[[type[Packet], tuple[Timestamp, Any]], Packet]] = tuple[
    Timestamp, Any
].__new__
"""`new_packet(Packet, (timestamp, payload))` makes one in half the time."""

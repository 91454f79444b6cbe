"""A packet is a payload at a timestamp; it never changes and may be shared."""

from __future__ import annotations

from typing import Any, NamedTuple

from ovms_mp.core.timestamp import Timestamp


class Packet(NamedTuple):
    """What travels on a stream. Consumers share the payload: nobody may write to it."""

    timestamp: Timestamp
    payload: Any

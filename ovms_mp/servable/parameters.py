"""Request parameters mean what OVMS says: one is the packets' timestamp, some are wishes
of a stream's first request, the others are side packets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias, TypeGuard

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest, Parameter
from ovms_mp.core.stream_policy import STREAM_PARAMETERS
from ovms_mp.core.timestamp import Timestamp, describe, is_range_value

TIMESTAMP: Final = "OVMS_MP_TIMESTAMP"

# The side packet by which a Python node gets its resources: the server's own.
RESERVED_SIDE_PACKET: Final = "py"

SidePacket: TypeAlias = bool | int | str

_INT64: Final = range(-(2**63), 2**63)


class Uint64(int):
    """The value of a `uint64_param`: an integer to read, but no int64 however small."""

    __slots__ = ()


def timestamp_of(request: InferRequest) -> Timestamp | None:
    """The timestamp that the client chose for all packets of `request`, or None.

    Raises ServingError(MEDIAPIPE_INVALID_TIMESTAMP) for a parameter that is no int64,
    and for one of the special values.
    """
    value = request.parameters.get(TIMESTAMP)
    if value is None:
        return None
    if not _is_int64(value):
        raise ServingError(
            Status.MEDIAPIPE_INVALID_TIMESTAMP,
            f"Invalid timestamp format in request parameter {TIMESTAMP}."
            " Should be int64",
        )
    if not is_range_value(value):
        raise ServingError(Status.MEDIAPIPE_INVALID_TIMESTAMP, describe(value))
    return value


def side_packets_of(request: InferRequest) -> Mapping[str, SidePacket]:
    """What the parameters of a unary request, or of a stream's first, set by name.

    A graph ignores those that it does not declare. Raises ServingError for a value
    that is no string, int64 or bool, and for the server's own name.
    """
    side_packets: dict[str, SidePacket] = {}
    for name, value in request.parameters.items():
        if name == TIMESTAMP or name in STREAM_PARAMETERS:
            continue
        if name == RESERVED_SIDE_PACKET:
            raise ServingError(
                Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR,
                f"Incoming input side packet: {name} is special reserved name and"
                " cannot be used",
            )
        if not isinstance(value, bool | str) and not _is_int64(value):
            raise ServingError(
                Status.NOT_IMPLEMENTED,
                "Handling parameters of other types than: bool, string, int64 is not"
                " supported",
            )
        side_packets[name] = value
    return side_packets


def _is_int64(value: Parameter) -> TypeGuard[int]:
    """True for an `int64_param`. A bool and a Uint64 are other types on the wire."""
    return type(value) is int and value in _INT64

"""What flags say of how much clients may use up, beside the sizes of what they send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ovms_mp.settings.flags import Flags, UsageError

KIB: Final = 1 << 10
MIB: Final = 1 << 20
# Of HTTP/2's settings, and of channel arguments.
MAX_NUMBER: Final = 2**31 - 1
# gRPC's own metadata have to fit.
MIN_METADATA: Final = KIB


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Named as the flags are. Sizes are in bytes; 0 is no limit."""

    max_response_size: int = 256 * MIB
    max_streams: int = 1000
    grpc_memory_quota: int = 2048 * MIB
    grpc_max_concurrent_streams: int = 0
    grpc_max_metadata_size: int = 16 * KIB
    grpc_compression: bool = False


USUAL: Final = LimitSettings()
"""Where no flag says anything."""


def limits(flags: Flags) -> LimitSettings:
    """Raises UsageError."""
    metadata = flags.number("grpc_max_metadata_size", USUAL.grpc_max_metadata_size)
    if not MIN_METADATA <= metadata <= MAX_NUMBER:
        raise UsageError(
            f"grpc_max_metadata_size should be from {MIN_METADATA} to {MAX_NUMBER}"
        )
    return LimitSettings(
        max_response_size=_up_to(flags, "max_response_size", USUAL.max_response_size),
        max_streams=_up_to(flags, "max_streams", USUAL.max_streams),
        grpc_memory_quota=flags.number("grpc_memory_quota", USUAL.grpc_memory_quota),
        grpc_max_concurrent_streams=_up_to(flags, "grpc_max_concurrent_streams", 0),
        grpc_max_metadata_size=metadata,
        grpc_compression=flags.switch("grpc_compression"),
    )


def _up_to(flags: Flags, name: str, default: int) -> int:
    number = flags.number(name, default)
    if number > MAX_NUMBER:
        raise UsageError(f"{name} should be from 0 (no limit) to {MAX_NUMBER}")
    return number

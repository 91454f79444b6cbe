"""What flags say of REST: how much a request may bring, and what browsers are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ovms_mp.settings.flags import Flags, UsageError

GIB: Final = 1 << 30
# JSON takes ten times its size to be read, and the interpreter with it.
DEFAULT_JSON_SIZE: Final = 1 << 26
# More than all bodies together may take would never be read.
MAX_SIZE: Final = 2 * GIB
ANYTHING: Final = "*"


@dataclass(frozen=True, slots=True)
class RestSettings:
    """Named as the flags are. Sizes are in bytes; the others are values of headers."""

    rest_max_body_size: int = GIB
    rest_max_json_size: int = DEFAULT_JSON_SIZE
    allowed_origins: str = ANYTHING
    allowed_methods: str = ANYTHING
    allowed_headers: str = ANYTHING
    allow_credentials: bool = False
    ui: bool = True


UNTOLD: Final = RestSettings()
"""Where no flag says anything."""


def rest(flags: Flags) -> RestSettings:
    """Raises UsageError."""
    return RestSettings(
        rest_max_body_size=_size(flags, "rest_max_body_size", GIB),
        rest_max_json_size=_size(flags, "rest_max_json_size", DEFAULT_JSON_SIZE),
        allowed_origins=_header(flags, "allowed_origins"),
        allowed_methods=_header(flags, "allowed_methods"),
        allowed_headers=_header(flags, "allowed_headers"),
        allow_credentials=flags.switch("allow_credentials"),
        ui=flags.switch("ui", default="true"),
    )


def _size(flags: Flags, name: str, default: int) -> int:
    size = flags.number(name, default)
    if not 1 <= size <= MAX_SIZE:
        raise UsageError(f"{name} should be from 1 to {MAX_SIZE}")
    return size


def _header(flags: Flags, name: str) -> str:
    text = flags.text(name) or ANYTHING
    if not (text.isascii() and text.isprintable()):
        raise UsageError(f"{name} should be printable ASCII, not {text!r}")
    return text

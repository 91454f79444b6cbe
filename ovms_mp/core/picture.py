"""How large a picture is, before anybody decodes it: a few kilobytes can hold gigabytes of
pixels.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ovms_mp.core.messages import Buffer

MAX_PIXELS: Final = 1 << 26
"""Of what is decoded at a time: 8192 by 8192, 192 MiB in colour."""

PNG: Final = b"\x89PNG\r\n\x1a\n"
JPEG: Final = b"\xff\xd8\xff"
# Start of a frame: the segments that say how large a JPEG is.
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_START_OF_SCAN: Final = 0xDA


def picture_size(data: Buffer) -> tuple[int, int] | None:
    """Width and height of a JPEG or PNG, by its header; None if it is neither."""
    view = memoryview(data)
    head = bytes(view[:24])
    if head.startswith(PNG) and head[12:16] == b"IHDR" and len(head) == 24:
        width, height = struct.unpack_from(">II", view, 16)
        return width, height
    return _jpeg_size(view) if head.startswith(JPEG) else None


def _jpeg_size(view: memoryview) -> tuple[int, int] | None:
    at = 2
    while at + 4 <= len(view) and view[at] == 0xFF:
        marker = view[at + 1]
        if marker == 0xFF:  # a filler
            at += 1
        elif marker in _JPEG_WITHOUT_LENGTH:
            at += 2
        elif marker == _START_OF_SCAN:
            return None
        elif marker in _JPEG_FRAMES and at + 9 <= len(view):
            height, width = struct.unpack_from(">HH", view, at + 5)
            return width, height
        else:
            (length,) = struct.unpack_from(">H", view, at + 2)
            at += 2 + max(length, 2)
    return None

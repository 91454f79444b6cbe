"""Memory that a message has had is kept for the next one.

By default glibc hands a freed block of megabytes back to the kernel, and has it mapped
and cleared again, page by page, for the next: of a frame of 6 MB there and back that was
two fifths of the processor time (20 ms of it, and 12.7 without).

Without glibc nothing of this is done, and nothing is said: memory is kept as the C
library likes.
"""

from __future__ import annotations

import ctypes
from typing import Final

# <malloc.h>
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

MAPPED_BYTES: Final = 32 << 20
"""Blocks from here on are mapped one by one; glibc takes no larger value."""

KEPT_BYTES: Final = 64 << 20
"""At most as much is kept by each of ARENAS, as far as it is in one piece at its end."""

ARENAS: Final = 4
"""Where threads get memory from; glibc would have eight for each processor."""


def keep() -> None:
    """Keep what is freed, within the bounds above. Once, before threads are started:
    those have their arena from then on.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
    mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Give all that is free to the kernel: when something is gone that was large and
    stays away. From any thread; takes milliseconds, during which others go on.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    trim(0)

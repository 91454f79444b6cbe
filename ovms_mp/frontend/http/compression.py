"""Whether an answer is compressed is the client's wish, if it is meant.

Many libraries name every coding they know with each request. For JSON that is taken at
its word; contents of tensors are compressed only for who names one coding and no other,
as tritonclient does when it is told to: it takes longer than to send them, as a rule.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Final

from ovms_mp.frontend.http.response import Encoded

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_BYTES: Final = 1024
"""Less is sent as it is."""

# zlib's, for a header of gzip, or of zlib, which HTTP calls deflate.
_WINDOW_BITS: Final = {"gzip": 31, "deflate": 15}
_FASTEST: Final = 1
_NOT_AT_ALL: Final = re.compile(r"q *= *0(\.0*)?")


def coding(accepted: Sequence[str], encoded: Encoded) -> str | None:
    """How to compress it for who sent these `accept-encoding`; None for not at all."""
    if not accepted or encoded.size < MIN_BYTES:
        return None
    named: list[str] = []
    for each in ",".join(accepted).lower().split(","):
        name, _, weight = each.partition(";")
        if not _NOT_AT_ALL.fullmatch(weight.strip()):
            named.append(name.strip())
    known = [name for name in _WINDOW_BITS if name in named]
    if not known or (encoded.is_binary and len(named) > 1):
        return None
    return known[0]


def compressed(encoded: Encoded, coding: str) -> Encoded:
    """The same, as one part."""
    deflate = zlib.compressobj(_FASTEST, wbits=_WINDOW_BITS[coding])
    parts = [deflate.compress(part) for part in encoded.parts]
    return encoded._replace(parts=[b"".join((*parts, deflate.flush()))])

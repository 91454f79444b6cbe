"""What OVMS reads in a pbtxt's comments: the directive for a pool of graphs. It is judged
as OVMS does, so that a file which OVMS refuses is refused here, and has no effect:
sessions are cheap enough to need no pool.
"""

from __future__ import annotations

import re
from typing import Final

from ovms_mp.graph import pbtxt

_POOL: Final = "OVMS_GRAPH_QUEUE_MAX_SIZE"

# A comment that has its line to itself and says nothing else; of several the first.
_DIRECTIVE: Final = re.compile(
    rf"^[^\S\n]*#[^\S\n]*{_POOL}[^\S\n]*:[^\S\n]*(\S+)[^\S\n]*$", re.MULTILINE
)
_SIZE: Final = re.compile(r"[+-]?[0-9]{1,19}")
_MOST: Final = 2**31 - 1


def check(text: str, file: str) -> None:
    """Judge the directive of a pbtxt, if there is one. Raises GraphConfigError."""
    match = _DIRECTIVE.search(text)
    if match is None:
        return
    value = match[1]
    if value == "AUTO" or (_SIZE.fullmatch(value) and 0 <= int(value) <= _MOST):
        return
    line = text.count("\n", 0, match.start(1)) + 1
    problem = (
        f"{_POOL}: expected AUTO, 0 or a positive integer of 32 bits, "
        f'found "{value[: pbtxt.MAX_MESSAGE]}"'
    )
    raise pbtxt.invalid(file, line, problem)

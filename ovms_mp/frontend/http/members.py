"""No object in JSON has two members of one name. RapidJSON, by which OVMS reads, heeds the
first of them, others the last: what one who judges requests on their way has seen would
not be what is served.

The parser does not tell. But each member has one colon outside of strings; so there are as
many of these as the objects have members, unless one has taken another's place.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, cast

from ovms_mp.frontend.http.errors import Problem, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

# Possessive: it never goes back, however long they are.
_STRINGS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"')


class _Twice(Exception):
    pass


def ensure_single(text: bytes, said: object) -> None:
    """Raises Refusal if `text`, which is valid JSON and says `said`, names a member of an
    object twice.
    """
    count = _members(said)
    if text.count(b":") == count or _STRINGS.sub(b"", text).count(b":") == count:
        return
    # There are two of a name, or objects where none belong: it takes long to tell.
    try:
        # Numbers may have more digits than Python likes to read.
        json.loads(text, object_pairs_hook=_single, parse_int=len, parse_float=len)
    except _Twice as twice:
        details = f"two members have the name {twice}"
        raise Refusal(Problem.JSON_INVALID, details) from None
    except RecursionError:
        raise Refusal(Problem.JSON_NESTING_DEPTH_EXCEEDED) from None


def _members(said: object) -> int:
    """Of all objects, but for those that lie in arrays of arrays or among numbers: to look
    for these takes as long as the arrays are.
    """
    count, waiting = 0, [said]
    while waiting:
        each = waiting.pop()
        if type(each) is dict:
            found = cast("dict[str, object]", each)
            count += len(found)
            waiting += found.values()
        elif type(each) is list:
            elements = cast("list[object]", each)
            if elements and isinstance(elements[0], dict | str):
                waiting += [x for x in elements if type(x) is dict]
    return count


def _single(members: Sequence[tuple[str, object]]) -> None:
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            raise _Twice(name)
        seen.add(name)

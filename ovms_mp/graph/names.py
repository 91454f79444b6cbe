"""How streams, side packets and tags are written in a pbtxt: `name`, `TAG:name`,
`TAG:index:name`, and `TAG:index` where a node's stream is meant (MediaPipe's
tool/validate_name.cc and tool/tag_map.cc).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_INDEX: Final = 10_000

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*")
_TAG: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
_INDEX: Final = re.compile(r"0|[1-9][0-9]*", re.ASCII)


class BadName(ValueError):
    """A text is no such name; `line` is where it stands, 0 where the caller knows."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class StreamName:
    """`TAG:index:name` as a pbtxt writes it, and the line where it stands."""

    tag: str
    index: int
    name: str
    line: int


def parse(text: str) -> tuple[str, int | None, str]:
    """Tag, index and name; the index is None where nothing but a name is given.

    Raises BadName.
    """
    parts = text.split(":")
    tag, index, name = "", "0", parts[-1]
    if len(parts) == 2:
        tag = parts[0]
    elif len(parts) == 3:
        tag, index = parts[0], parts[1]
    is_valid = (
        len(parts) <= 3
        and _NAME.fullmatch(name)
        and (len(parts) == 1 or _TAG.fullmatch(tag))
        and _is_index(index)
    )
    if not is_valid:
        msg = (
            "expected `name`, `TAG:name` or `TAG:index:name` "
            "with a lower-case name and an upper-case tag"
        )
        raise BadName(msg)
    return tag, None if len(parts) == 1 else int(index), name


def parse_tag_index(text: str) -> tuple[str, int]:
    """Tag and index of `TAG`, `TAG:index` or `:index`; of nothing: ("", 0).

    Raises BadName.
    """
    parts = text.split(":")
    tag, index = parts[0], parts[1] if len(parts) == 2 else "0"
    is_valid = len(parts) <= 2 and (not tag or _TAG.fullmatch(tag)) and _is_index(index)
    if not is_valid:
        msg = "expected `TAG`, `TAG:index` or `:index` with an upper-case tag"
        raise BadName(msg)
    return tag, int(index)


def _is_index(text: str) -> bool:
    is_number = len(text) <= 5 and _INDEX.fullmatch(text) is not None
    return is_number and int(text) <= MAX_INDEX


def numbered(
    texts: Sequence[str], lines: Sequence[int], which: str
) -> tuple[StreamName, ...]:
    """The streams of one side of a node, those without a tag numbered by their order.

    Raises BadName with the line, also when the indexes of a tag are not 0, 1, 2 ….
    """
    found: list[StreamName] = []
    untagged = 0
    for text, line in zip(texts, lines, strict=True):
        try:
            tag, index, name = parse(text)
        except BadName as error:
            raise BadName(f'{which} "{text}": {error}', line) from error
        if index is None:
            index = untagged
            untagged += 1
        found.append(StreamName(tag, index, name, line))
    return tuple(found)


def check_indexes(names: Iterable[StreamName], which: str) -> None:
    """Raises BadName when an index of a tag is used twice or left out."""
    seen: dict[str, dict[int, StreamName]] = {}
    for name in names:
        other = seen.setdefault(name.tag, {}).setdefault(name.index, name)
        if other is not name:
            msg = f"{which}: {name.tag}:{name.index} is used twice"
            raise BadName(msg, name.line)
    for tag, by_index in seen.items():
        if max(by_index) != len(by_index) - 1:
            last = by_index[max(by_index)]
            msg = f"{which}: the indexes of {tag} are not 0 … {len(by_index) - 1}"
            raise BadName(msg, last.line)


def distinct(labels: Iterable[str]) -> list[str]:
    """The labels, numbered from 1 where several are the same."""
    given = list(labels)
    total, seen = Counter(given), Counter[str]()
    found: list[str] = []
    for each in given:
        seen[each] += 1
        found.append(f"{each}_{seen[each]}" if total[each] > 1 else each)
    return found

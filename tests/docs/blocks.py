"""What a Markdown page shows in fences and tables, and on which line.

The comment directly above a fence says what it is beside its language; the comment
directly above a table gives the table a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>\w*)\s*")
_COMMENT = re.compile(r"\s*<!-- (?P<note>.+) -->\s*")
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Block:
    """A fence. `line` is that of its first line of text."""

    language: str
    text: str
    line: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a name; `rows` without the heading, cells as they are written."""

    name: str
    rows: tuple[tuple[str, ...], ...]
    line: int

    def column(self, number: int) -> tuple[str, ...]:
        """A column without the backticks around its cells."""
        return tuple(row[number].strip("`") for row in self.rows)


def blocks_of(markdown: str) -> Iterator[Block]:
    """The fences of a page, in order. Raises ValueError for one that does not end."""
    lines = iter(enumerate(markdown.splitlines(), start=1))
    above = ""
    for number, line in lines:
        fence = _FENCE.fullmatch(line)
        if fence is None:
            above = line
            continue
        text: list[str] = []
        for _, inside in lines:
            if inside.strip() == "```":
                break
            text.append(inside.removeprefix(fence["indent"]))
        else:
            raise ValueError(f"line {number}: a fence does not end")
        note = _COMMENT.fullmatch(above)
        yield Block(
            fence["language"],
            "".join(f"{each}\n" for each in text),
            number + 1,
            note["note"] if note else "",
        )
        above = ""


def tables_of(markdown: str) -> Iterator[Table]:
    """The named tables of a page, in order."""
    lines = markdown.splitlines()
    for number, (above, line) in enumerate(pairwise(lines), start=2):
        named = re.fullmatch(r"<!-- table: (.+) -->", above)
        if named is None or not line.startswith("|"):
            continue
        rows: list[tuple[str, ...]] = []
        for row in lines[number - 1 :]:
            if not row.startswith("|"):
                break
            cells = _CELL.split(row.strip().strip("|"))
            rows.append(tuple(cell.strip().replace(r"\|", "|") for cell in cells))
        yield Table(named[1], tuple(rows[2:]), number)

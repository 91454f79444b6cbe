"""What a page says comes of its code is compared with what came of it.

`...` stands for anything. Times and incident ids are never the same: they are brought to
one form on both sides.
"""

from __future__ import annotations

import re

_VARYING = (
    (re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\]"), "[time]"),
    (re.compile(r"\bin \d+\.\d\ds\b"), "in 0.00s"),
    (re.compile(r"incident [0-9a-f]{12}"), "incident 000000000000"),
)


def matches(shown: str, happened: str) -> bool:
    """True if `happened` is what the page shows."""
    parts = [re.escape(part) for part in normal(shown).split("...")]
    return re.fullmatch(r"(?s:.*?)".join(parts), normal(happened)) is not None


def normal(text: str) -> str:
    """`text` without what varies: times, ids, blanks at the ends of lines."""
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())

"""Flags by their names, each read as what it should be; complaints say which is not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ovms_mp.repository import document
from ovms_mp.repository.document import Node

_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}


class UsageError(Exception):
    """The flags contradict themselves or this machine; the message is for stderr."""


class Flags:
    """Flags by their names, read as what they should be. Each method raises UsageError
    if the flag is not that.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def text(self, name: str) -> str:
        """The flag as it was written; an empty one counts as not given (OVMS)."""
        return self._given.get(name, "")

    def number(self, name: str, default: int) -> int:
        """A number without sign."""
        text = self.text(name) or str(default)
        # 2^63 has 19 digits: no sensible number has more.
        if not (text.isascii() and text.isdigit() and len(text) <= 19):
            raise UsageError(f"{name} should be a number without sign, not {text!r}")
        return int(text)

    def switch(self, name: str, *, default: str = "false") -> bool:
        """True or false, as a word or a digit."""
        text = self.text(name) or default
        if text.lower() not in _BOOLEANS:
            raise UsageError(f"{name} should be true or false, not {text!r}")
        return _BOOLEANS[text.lower()]

    def path(self, name: str) -> Path | None:
        """A path, None if there is none."""
        text = self.text(name)
        return Path(text) if text else None

    def json(self, name: str) -> Node | None:
        """Raises ServingError for what is no JSON."""
        text = self.text(name)
        return document.parse(os.fsencode(text), f"--{name}") if text else None

    def one_of(self, name: str, known: tuple[str, ...], default: str) -> str:
        """One of the known words."""
        text = self.text(name) or default
        if text not in known:
            raise UsageError(f"{name} should be one of: {', '.join(known)}")
        return text

"""What OpenVINO says when it fails, made fit for people."""

from __future__ import annotations

import re
from typing import Final

from ovms_mp.core.errors import public_text

_WHERE_IT_FAILED: Final = re.compile(
    r"(?:Exception from|Check '.*' failed at) \S+:\d+:?(?:\s|$)"
)


def reason(error: Exception) -> str:
    """What OpenVINO says, without where in its sources it says so; one line."""
    text = text_of(error)
    return public_text(_WHERE_IT_FAILED.sub("", text)) or public_text(text)


def text_of(error: Exception) -> str:
    """What OpenVINO says, also where it quotes a file's bytes that are no text, over
    which its binding stumbles.
    """
    if isinstance(error, UnicodeDecodeError):
        return error.object.decode(errors="replace")
    return str(error)

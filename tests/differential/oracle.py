"""MediaPipe's runtime as somebody to ask: a child process that is replaced when it dies
or hangs, so that a question may go unanswered but never ends the tests.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final

ANSWER_WITHIN: Final = 10.0
"""Seconds; a graph of ours takes some milliseconds. The first answer may take longer."""

_ROOT: Final = Path(__file__).parents[2]
_CHILD: Final = Path(__file__).with_name("native_child.py")


class NoAnswer(Exception):
    """The child died or hung."""


@cache
def interpreter() -> Path | None:
    """A Python that has mediapipe: this one, else that of `make .venv-native`."""
    if find_spec("mediapipe") is not None:
        return Path(sys.executable)
    other = _ROOT / ".venv-native" / "bin" / "python"
    return other if other.exists() else None


class Oracle:
    """One child at a time, which runs the script. Not for several threads."""

    def __init__(self, script: Path = _CHILD, within: float = ANSWER_WITHIN) -> None:
        self._script = script
        self._within = within
        self._child: subprocess.Popen[bytes] | None = None

    def ask(self, case: dict[str, Any]) -> dict[str, Any]:
        """What the native runtime does with a case. Raises NoAnswer."""
        is_new = self._child is None
        child = self._child = self._child or self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(case).encode() + b"\n")
            child.stdin.flush()
            line = self._line(child.stdout, self._within * (6 if is_new else 1))
        except (NoAnswer, BrokenPipeError):
            self.close()
            raise NoAnswer from None
        return json.loads(line)

    def _line(self, stdout: IO[bytes], within: float) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            parts = b""
            while not parts.endswith(b"\n"):
                part = (
                    os.read(stdout.fileno(), 1 << 16)
                    if selector.select(within)
                    else b""
                )
                if not part:
                    raise NoAnswer
                parts += part
        return parts

    def _start(self) -> subprocess.Popen[bytes]:
        python = interpreter()
        assert python is not None
        return subprocess.Popen(
            [python, "-I", self._script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "GLOG_minloglevel": "3", "CUDA_VISIBLE_DEVICES": ""},
        )

    def close(self) -> None:
        """End the child, whatever it does."""
        child, self._child = self._child, None
        if child is not None:
            assert child.stdin is not None
            assert child.stdout is not None
            child.kill()
            child.wait()
            child.stdin.close()
            child.stdout.close()

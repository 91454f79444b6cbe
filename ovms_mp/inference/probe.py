"""A model file is read by a child process before the server reads it: one that makes
OpenVINO's reader crash ends the child, and the server tells instead of ending.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.secrets import without_secrets
from ovms_mp.inference.engine import file_name

_CHILD: Final = (sys.executable, "-m", "ovms_mp.inference.reader")


class Probe:
    """One child, started when it is first needed and again after it died. Thread-safe;
    models are probed one at a time. `extension` has operations of models; `command`
    starts a child.
    """

    def __init__(
        self, extension: Path | None = None, *, command: tuple[str, ...] = _CHILD
    ) -> None:
        self._command = command if extension is None else (*command, str(extension))
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._is_over = False

    def check(self, path: Path) -> None:
        """Raises ServingError if to read `path` ends the process that does, or no
        process can be had, or `abandon` has been called. A file that is refused as it
        should be is no business of the probe.
        """
        with self._lock:
            is_new = self._child is None
            code = self._read(path)
            if code is not None and not is_new:
                # A file before this one may have left harm behind.
                code = self._read(path)
        if code is None:
            return
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise ServingError(
            Status.MODEL_NOT_LOADED,
            f"{file_name(path)}: to read it ends the process that does, by {cause}",
        )

    def abandon(self) -> None:
        """Read no more: what is being read is given up. From any thread."""
        self._is_over = True
        child = self._child
        if self._lock.locked() and child is not None:
            child.kill()
        self.close()

    def close(self) -> None:
        """End the child, when it has read what it is at."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            _close(child)
            child.wait()

    def _read(self, path: Path) -> int | None:
        """With what code the child ended, None if it lives. Raises ServingError."""
        self._check_going_on(path)
        try:
            child = self._child = self._child or self._start()
        except OSError as error:
            raise ServingError(
                Status.MODEL_NOT_LOADED,
                f"{file_name(path)}: no process to probe it: {error.strerror}",
            ) from error
        if self._is_over:  # since before this child was there to be killed
            child.kill()
        if _ask(child, path):
            return None
        self._child = None
        code = child.wait()
        _close(child)
        self._check_going_on(path)
        return code

    def _check_going_on(self, path: Path) -> None:
        if self._is_over:
            details = f"{file_name(path)}: the server stops"
            raise ServingError(Status.MODEL_NOT_LOADED, details)

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603  # our own command
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=without_secrets(os.environ),
            text=True,
            # Ctrl-C in a terminal is for the server, which then closes the child.
            start_new_session=True,
        )


def _ask(child: subprocess.Popen[str], path: Path) -> bool:
    """False if the child did not live to answer."""
    assert child.stdin is not None
    assert child.stdout is not None
    with suppress(BrokenPipeError):
        child.stdin.write(json.dumps(str(path.absolute())) + "\n")
        child.stdin.flush()
        return bool(child.stdout.readline())
    return False


def _close(child: subprocess.Popen[str]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()

"""A server started by the command that a page shows, on free ports of this machine."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_STARTS_WITHIN: Final = 120.0
_STOPS_WITHIN: Final = 10.0
_POLL: Final = 0.02

_HOST: Final = "127.0.0.1"
_FLAGS: Final = {"gRPC": ("--port", "0"), "REST": ("--rest_port", "auto")}
_LISTENING: Final = re.compile(rf"(gRPC|REST) server listening on {_HOST}:(\d+)")


class DocumentedServer:
    """`command` runs in `folder` from here until `stop`; everything is loaded when the
    constructor returns. Raises AssertionError with the log if the server ends early.
    """

    def __init__(
        self, command: str, folder: Path, environment: Mapping[str, str]
    ) -> None:
        words = shlex.split(command)
        self._shown: dict[str, str] = {}
        for what, (flag, free) in _FLAGS.items():
            if flag in words:
                self._shown[what] = words[words.index(flag) + 1]
                words[words.index(flag) + 1] = free
        assert "gRPC" in self._shown, "a page's server says its --port"
        words[0] = str(Path(sys.executable).parent / words[0])
        words += ["--grpc_bind_address", _HOST, "--rest_bind_address", _HOST]
        self._log = folder / "server.log"
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                words,
                cwd=folder,
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _STARTS_WITHIN
        while "serving: " not in self.raw_log():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                self._process.wait()
                raise AssertionError(f"the server did not start:\n{self.raw_log()}")
            time.sleep(_POLL)
        self._actual = dict(_LISTENING.findall(self.raw_log()))

    def raw_log(self) -> str:
        """What the server has said so far."""
        return self._log.read_text(errors="replace")

    def log(self) -> str:
        """The same as if the server had the documented ports, open to everybody."""
        text = self.raw_log()
        for what, port in self._actual.items():
            text = text.replace(f"{_HOST}:{port}", f"0.0.0.0:{self._shown[what]}")
        return text

    def translated(self, code: str) -> str:
        """`code` that talks to the documented ports, talking to the actual ones."""
        for what, port in self._actual.items():
            code = code.replace(f"localhost:{self._shown[what]}", f"{_HOST}:{port}")
        return code

    def stop(self) -> None:
        """As Ctrl-C does. Raises AssertionError if the server does not end well."""
        self._process.terminate()
        try:
            code = self._process.wait(_STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        assert code == 0, f"the server ended with {code}:\n{self.raw_log()}"

"""Workers that are forks of a template, as the server sees them.

The template is a process too, started when the first worker is wanted; whoever wants
workers holds it, and it ends with the last of them.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from typing import TYPE_CHECKING, Final

from ovms_mp.isolation.child import BURIAL_SECONDS, Child, told
from ovms_mp.isolation.template import FORK, NUMBER_BYTES, Ends

if TYPE_CHECKING:
    from collections.abc import Generator

FORK_SECONDS: Final = 60.0
"""For a template to answer; the first time it has its imports to do."""

_TEMPLATE: Final = "ovms_mp.isolation.template"


class Templates:
    """One template, while it is held. Thread-safe."""

    def __init__(self, module: str) -> None:
        """Of workers that run the module's `main`, as a Child would."""
        self._module = module
        self._lock = threading.Lock()
        self._holders = 0
        self._template: Child | None = None

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """In the block `fork` may be called, and what it gave be used."""
        with self._lock:
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._end()

    def fork(self) -> Forked:
        """A new worker. Raises OSError when no process can be started."""
        with self._lock:
            if self._template is not None:
                try:
                    return Forked(self._template.link)
                except (ConnectionError, TimeoutError):  # somebody has ended it
                    self._end()
            self._template = Child(_TEMPLATE, self._module)
            self._template.link.settimeout(FORK_SECONDS)
            try:
                return Forked(self._template.link)
            except (ConnectionError, TimeoutError):
                self._end()
                raise

    def _end(self) -> None:
        template, self._template = self._template, None
        if template is not None:
            template.bury()


class Forked:
    """A worker of a template's; what a Child is otherwise. What it writes to standard
    output and error can be read from `output`.
    """

    def __init__(self, template: socket.socket) -> None:
        """Raises ConnectionError or TimeoutError when the template is no good, and
        another OSError when there can be no process.
        """
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            self.link, link = socket.socketpair()
            ours.enter_context(self.link)
            theirs.enter_context(link)
            lifeline, _ = _pipe(ours, theirs, reads=False)
            self.output, said = _pipe(ours, theirs)
            self.exit, status = _pipe(ours, theirs)
            """Can be read once the process has ended."""
            ends = Ends(link.fileno(), lifeline, said, status)
            self.pid, self._process = _ask(template, ends)
            ours.callback(os.close, self._process)
            self._open = ours.pop_all()
        self._code: int | None = None
        self._lock = threading.Lock()
        self._is_buried = False

    def signal(self, number: int) -> bool:
        """Send it a signal, if it is there; False if it is not. By any thread."""
        with self._lock:
            if self._is_buried:
                return False
            try:
                signal.pidfd_send_signal(self._process, number)
            except ProcessLookupError:
                return False
            return True

    def kill(self) -> None:
        """End the process and those of its group. May be repeated."""
        self.signal(signal.SIGKILL)  # the template sees to the group

    def how_it_ended(self) -> str:
        """` by SIGSEGV`, ` with exit code 1`; empty if that is not known."""
        if self._code is None:
            poll = select.poll()
            poll.register(self.exit, select.POLLIN)
            if poll.poll(BURIAL_SECONDS * 1000):
                data = os.read(self.exit, NUMBER_BYTES)
                if data:
                    self._code = int.from_bytes(data, "big", signed=True)
        return "" if self._code is None else told(self._code)

    def bury(self) -> None:
        """Kill it and let go of everything. Once."""
        was_there = self.signal(signal.SIGKILL)
        if not self.how_it_ended() and was_there:  # and no template sees to the group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        with self._lock:
            self._is_buried = True
            self._open.close()


def _pipe(
    ours: contextlib.ExitStack, theirs: contextlib.ExitStack, *, reads: bool = True
) -> tuple[int, int]:
    """The end to read from, which is ours or not, and the other one."""
    source, target = os.pipe()
    for each, owner in zip(
        (source, target), (ours, theirs) if reads else (theirs, ours), strict=True
    ):
        owner.callback(os.close, each)
    return source, target


def _ask(template: socket.socket, ends: Ends) -> tuple[int, int]:
    socket.send_fds(template, [FORK], list(ends))
    data, descriptors, _, _ = socket.recv_fds(
        template, NUMBER_BYTES, 1, socket.MSG_CMSG_CLOEXEC
    )
    if len(data) < NUMBER_BYTES:
        raise ConnectionResetError("the template of the node's processes has ended")
    pid = int.from_bytes(data, "big", signed=True)
    if pid < 0:
        raise OSError(-pid, os.strerror(-pid))
    (process,) = descriptors
    return pid, process

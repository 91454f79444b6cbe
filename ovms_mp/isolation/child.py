"""A process for foreign code as the server sees it: started without a fork of the server,
reached by a socket, and ended with all that it has started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import Final

from ovms_mp.core.secrets import without_secrets

BURIAL_SECONDS: Final = 5.0

NICENESS: Final = 5
"""What foreign code yields: a worker that computes without end does not keep the server
from its other clients, while whoever waits for a worker waits no longer than for work of
the server's own unless there are more of those than processors.
"""


class Child:
    """`python -m MODULE SOCKET_FD LIFELINE_FD …`: a worker, whose main begins with
    `worker.connect`, or a template of workers.

    With `is_heard`, what it writes to standard output and error can be read from
    `output`; otherwise they are the server's.
    """

    def __init__(self, module: str, *more: str, is_heard: bool = False) -> None:
        ours, theirs = socket.socketpair()
        lifeline, held = os.pipe()
        output, said = os.pipe() if is_heard else (None, None)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [
                    *(sys.executable, "-P", "-m", module),
                    *(str(theirs.fileno()), str(lifeline), *more),
                ],
                pass_fds=(theirs.fileno(), lifeline),
                env=without_secrets(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                # A signal to the server's group is not for the worker, and one to the
                # worker's reaches what it has started. No session of its own: Linux
                # weighs priorities within one only.
                process_group=0,
            )
        except BaseException:
            ours.close()
            os.close(held)
            if output is not None:
                os.close(output)
            raise
        finally:
            theirs.close()
            os.close(lifeline)
            if said is not None:
                os.close(said)
        with contextlib.suppress(OSError):  # of a container's rules
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICENESS)
        # Before anybody asks how it is: a process whose end was seen has no number.
        self.exit = os.pidfd_open(self._process.pid)
        """Can be read once the process has ended."""
        self.link = ours
        self.output = output
        self._held = held

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """False once the process has ended."""
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal, if it is there."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the process and those of its group. May be repeated."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def how_it_ended(self) -> str:
        """` by SIGSEGV`, ` with exit code 1`; empty if that is not known yet."""
        code = self.code()
        return "" if code is None else told(code)

    def code(self) -> int | None:
        """With what it ended, negative for a signal; None if that is not known yet."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(BURIAL_SECONDS)
        return None

    def bury(self) -> None:
        """Kill it and let go of everything. Once."""
        self._process.kill()
        # What it has forked lives in its group, as long as one of them does.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.link.close()
        os.close(self.exit)
        os.close(self._held)
        if self.output is not None:
            os.close(self.output)


def told(code: int) -> str:
    """How a process ended: ` by SIGSEGV`, ` with exit code 1`."""
    if code >= 0:
        return f" with exit code {code}"
    try:
        return f" by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f" by signal {-code}"

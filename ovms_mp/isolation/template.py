"""The process that workers are forked from: it has imported what they need, so that one
more costs milliseconds, and not the quarter of a second of a processor that a new
interpreter takes from whoever is served meanwhile.

    python -P -m ovms_mp.isolation.template SOCKET_FD LIFELINE_FD MODULE

It runs no thread, so a fork copies nothing that is half done; it knows nothing of the
server, so a worker cannot either. It reaps its workers and tells how they ended.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import Final, NamedTuple

FORK: Final = b"f"
"""What is asked; with it come the ends that the worker gets, in the order of `Ends`."""

NUMBER_BYTES: Final = 4
"""Of an answer, the worker's process number, beside which its pidfd comes, or, negative,
the error number of the fork; and of an exit code.
"""


class Ends(NamedTuple):
    """Descriptors of a new worker's."""

    link: int
    lifeline: int
    output: int
    status: int
    """Of the template's: where it writes the worker's exit code."""


def number(value: int) -> bytes:
    """As it is sent."""
    return value.to_bytes(NUMBER_BYTES, "big", signed=True)


class _Worker(NamedTuple):
    pid: int
    status: int


class Template:
    """Forks when it is asked, until nobody asks any more."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._workers: dict[int, _Worker] = {}
        """By their pidfds."""
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)

    def serve(self) -> Ends | None:
        """Returns in each worker with what is its own, and None when the server wants
        no more.
        """
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._workers:
                    self._bury(descriptor)
                    continue
                asked, ends, _, _ = socket.recv_fds(self._link, 1, len(Ends._fields))
                if asked != FORK:
                    return None
                own = self._fork(Ends(*ends))
                if own is not None:
                    return own

    def _fork(self, ends: Ends) -> Ends | None:
        try:
            pid = os.fork()
        except OSError as error:
            for each in ends:
                os.close(each)
            self._link.sendall(number(-(error.errno or 1)))
            return None
        if not pid:
            self._leave(ends)
            return ends
        with contextlib.suppress(OSError):  # it has done so itself, or has ended
            os.setpgid(pid, pid)
        pidfd = os.pidfd_open(pid)
        self._workers[pidfd] = _Worker(pid, ends.status)
        self._poll.register(pidfd, select.POLLIN)
        for each in ends[:-1]:
            os.close(each)
        socket.send_fds(self._link, [number(pid)], [pidfd])
        return None

    def _leave(self, ends: Ends) -> None:
        """In a worker: keep nothing of the template's, and what is one's own."""
        # A signal to the server's group is not for the worker, and one to the worker's
        # reaches what it has started. No session of its own: Linux weighs priorities
        # within one only.
        os.setpgid(0, 0)
        self._link.close()
        os.close(ends.status)
        for pidfd, other in self._workers.items():
            os.close(pidfd)
            os.close(other.status)
        os.dup2(ends.output, 1)
        os.dup2(ends.output, 2)
        os.close(ends.output)

    def _bury(self, pidfd: int) -> None:
        worker = self._workers.pop(pidfd)
        self._poll.unregister(pidfd)
        # Until it is waited for, its number is its own, and its group's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.pid, signal.SIGKILL)
        _, how = os.waitpid(worker.pid, 0)
        with contextlib.suppress(OSError):  # nobody wants to know
            os.write(worker.status, number(os.waitstatus_to_exitcode(how)))
        os.close(worker.status)
        os.close(pidfd)


def main() -> None:
    """Run as the template of the server that started this process."""
    _, link, lifeline, name = sys.argv
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.close(int(lifeline))  # the end of the link says as much
    module = importlib.import_module(name)
    # What is here now is shared for as long as nobody touches it: not even to look for
    # garbage.
    gc.collect()
    gc.freeze()
    ends = Template(socket.socket(fileno=int(link))).serve()
    if ends is None:
        os._exit(0)
    for each in (ends.link, ends.lifeline):
        os.set_inheritable(each, False)
    sys.argv = [name, str(ends.link), str(ends.lifeline)]
    module.main()


if __name__ == "__main__":
    main()

"""A large model is compiled for the server by a process of its own, which gets what nobody
else wants of one processor, half of the time: so whoever is served meanwhile is served in
his time.

Of what computes in the server the kernel lets everybody wait, now and then, for as long as
its clock takes to tick; of such a process hardly anybody.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.inference.asking import Asked, header_of
from ovms_mp.inference.engine import ModelConfig, Property, file_name
from ovms_mp.isolation import frames
from ovms_mp.isolation.child import Child, told

SMALLEST: Final = 4 << 20
"""Bytes of weights. What is smaller is compiled by the time that a process has begun."""

LARGEST: Final = 512 << 20
"""Bytes of weights. A reload has them some four times more, beside what it had without a
process: in that, as it compiles, and in what it gives away, a GiB of which at most."""

LOOK_SECONDS: Final = 5.0
"""After which it is looked at what a process had of a processor meanwhile."""

LEAST_SHARE: Final = 0.1
"""Of a processor. With less it would compile for ten times as long as it needs to, and
where others compute without end, for ever: then the server does it, as if there were
nobody to be kept from anything."""

WORK_SECONDS: Final = 0.01
"""How long it may work at a stretch. Some clocks of the kernel tick in it, at which whoever
wakes up on its processor takes that from it, and not before."""

REST_SECONDS: Final = 0.01
"""How long it has to rest then, so that half as many wait for a tick. Without rests p99 of
requests of a millisecond was twice what it was beside nothing; with them, 1.3 to 1.6 times;
with rests of 18 ms after 6, 1.2 times, for four times the time."""

_CHILD: Final = "ovms_mp.inference.compiler"
_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat, counted from the one after the name: of the user's time, and
# of the system's.
_TIMES: Final = slice(11, 13)

_log = logging.getLogger(__name__)


class Apart:
    """Has models compiled, each in a process; any number at a time. Thread-safe.

    `extension` is a library with operations that models may have; models have at least
    `smallest` bytes of weights. `module` is what a process runs; it has no patience
    with one that in `look_seconds` did next to nothing.
    """

    def __init__(
        self,
        extension: Path | None = None,
        *,
        smallest: int = SMALLEST,
        module: str = _CHILD,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._extension = extension
        self._smallest = smallest
        self._module = module
        self._look_seconds = look_seconds
        self._lock = threading.Lock()
        self._children: set[Child] = set()
        self._is_closed = False

    def takes(self, weights: int) -> bool:
        """True if a model with so many bytes of them is for it, on this machine."""
        has_room = len(os.sched_getaffinity(0)) > 1
        return has_room and self._smallest <= weights <= LARGEST

    def compiled(
        self, path: Path, config: ModelConfig, properties: Mapping[str, Property]
    ) -> memoryview | None:
        """The model in a file as OpenVINO exports it once it is compiled; blocks for as
        long as that takes. None if it is to be compiled in the server: there is no
        process to be had, or it does not come to anything, or it cannot be compiled,
        which the server then finds, too.

        Raises ServingError if to compile it ends the process by a signal, or `close`
        has been called.
        """
        asked = Asked(path, config, properties, self._extension)
        name = file_name(path)
        begun = monotonic()
        try:
            with self._child() as child:
                blob = self._ask(child, asked)
        except (EOFError, OSError, frames.FrameError) as error:
            if self._is_closed:
                details = "the server stops"
                raise ServingError(Status.MODEL_NOT_LOADED, details) from None
            _log.warning("%s is compiled in the server, not apart: %s", name, error)
            return None
        _log.info("%s was compiled apart, in %.1f s", name, monotonic() - begun)
        return blob

    def close(self) -> None:
        """End the processes; whoever waits for one is told. From any thread."""
        with self._lock:
            self._is_closed = True
            for child in self._children:
                child.kill()

    @contextmanager
    def _child(self) -> Generator[Child]:
        with self._lock:
            if self._is_closed:
                raise EOFError
            child = Child(self._module)
            self._children.add(child)
        try:
            _let_everybody_go_first(child.pid)
            yield child
        finally:
            with self._lock:
                self._children.discard(child)
            # It may be long until it gets as much of a processor as it takes to end.
            threading.Thread(target=child.bury, name="burial", daemon=True).start()

    def _ask(self, child: Child, asked: Asked) -> memoryview:
        """Raises ServingError as `compiled` does, and EOFError, OSError or FrameError
        for what came of it otherwise.
        """
        try:
            frames.send(child.link, header_of(asked), [])
            self._wait(child)
            answer = frames.receive(child.link)
        except (EOFError, ConnectionError) as error:
            code = child.code()
            if code is not None and code < 0 and not self._is_closed:
                raise ServingError(
                    Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE,
                    f"to compile it ends the process that does{told(code)}",
                ) from None
            how = " and is not gone" if code is None else told(code)
            raise EOFError(f"the process ended{how}") from error
        if not answer.buffers:
            raise EOFError(answer.header.get("error"))
        return memoryview(answer.buffers[0])

    def _wait(self, child: Child) -> None:
        """Until it says something; it has rests. Raises TimeoutError if it cannot be
        waited for.
        """
        answer = select.poll()
        answer.register(child.link, select.POLLIN)
        looked, had = monotonic(), _processor_seconds(child.pid)
        while not answer.poll(WORK_SECONDS * 1000):
            child.signal(signal.SIGSTOP)
            sleep(REST_SECONDS)
            child.signal(signal.SIGCONT)
            if monotonic() < looked + self._look_seconds:
                continue
            if not child.is_alive:
                return  # the link says so, and its exit how
            before, looked, had = had, monotonic(), _processor_seconds(child.pid)
            if had - before < self._look_seconds * LEAST_SHARE:
                raise TimeoutError("it got next to nothing of a processor")


def _let_everybody_go_first(pid: int) -> None:
    """A process runs where and while a processor has nothing else to do; and if there is
    not memory enough for all, it is the one to go. Raises OSError.
    """
    os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    os.sched_setaffinity(pid, {max(os.sched_getaffinity(0))})
    with suppress(OSError):  # of a container's rules
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000", "ascii")


def _processor_seconds(pid: int) -> float:
    """What a process has had of processors. Raises OSError."""
    _, _, fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(") ")
    return sum(map(int, fields.split()[_TIMES])) / _TICKS

"""Worker processes as the server sees them: started ahead, used by one run, thrown away.

A worker serves one node of one run, so that what its native code does ends no other
run. One is kept ready while a graph with native nodes is loaded, which hides that a
process takes a quarter of a second to start.
"""

from __future__ import annotations

import atexit
import queue
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.core.pending import Pending
from ovms_mp.isolation import frames
from ovms_mp.isolation.child import Child
from ovms_mp.isolation.frames import Frame, FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CALL_SECONDS: Final = 60.0
"""How long native code may take for one input, models loaded in the first one
included; a worker that takes longer is killed."""

MAX_WORKERS: Final = 256
"""Processes at a time; a run that would need another one fails."""


class NativeFailure(Exception):
    """Native code failed, ended or took too long; the text says which."""


class _Call(NamedTuple):
    header: dict[str, Any]
    buffers: Sequence[Any]
    pending: Pending[Frame]
    seconds: float


class Worker:
    """One process. `call` may be used from any thread; calls are answered in turn."""

    def __init__(self) -> None:
        self._child = Child("ovms_mp.native.worker")
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_over = False
        self._on_end: Callable[[], object] = _nothing
        threading.Thread(target=self._run, name="native worker", daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        """False once the process has ended."""
        return self._child.is_alive

    def on_end(self, tell: Callable[[], object]) -> None:
        """Call `tell` once when the process is gone. To be said before it is used."""
        self._on_end = tell

    def call(
        self,
        header: dict[str, Any],
        buffers: Sequence[Any] = (),
        *,
        seconds: float = CALL_SECONDS,
    ) -> Pending[Frame]:
        """Ask; buffers must not change until the answer is there. Fails with
        NativeFailure when the worker says that it failed, ends, or takes too long. To cancel the result kills the worker.
        """
        pending: Pending[Frame] = Pending(self.kill)
        with self._lock:
            if not self._is_over:
                self._calls.put(_Call(header, buffers, pending, seconds))
                return pending
        pending.fail(NativeFailure("the native worker has ended"))
        return pending

    def kill(self) -> None:
        """End the process; calls that wait fail. May be repeated."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            self._calls.put(None)
        self._child.kill()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                frame = self._answer(call)
            except NativeFailure as error:
                call.pending.fail(error)
                self.kill()
                continue
            if "error" in frame.header:
                text = public_text(str(frame.header["error"]))
                call.pending.fail(NativeFailure(text))
            else:
                call.pending.complete(frame)
        self._child.bury()
        self._on_end()

    def _answer(self, call: _Call) -> Frame:
        link = self._child.link
        link.settimeout(call.seconds)
        try:
            frames.send(link, call.header, call.buffers)
            return frames.receive(link)
        except TimeoutError:
            text = f"native code took more than {call.seconds:g} s"
            raise NativeFailure(text) from None
        except FrameError as error:
            raise NativeFailure(f"the native worker sent nonsense: {error}") from error
        except (OSError, EOFError) as error:
            text = f"the native worker ended{self._child.how_it_ended()}"
            raise NativeFailure(text) from error


def _nothing() -> None:
    pass


class Pool:
    """Hands out workers; keeps a spare one while somebody holds the pool. Thread-safe."""

    def __init__(self, max_workers: int = MAX_WORKERS) -> None:
        self._max_workers = max_workers
        self._lock = threading.Lock()
        self._holders = 0
        self._spare: Worker | None = None
        self._working: set[Worker] = set()

    @property
    def pids(self) -> set[int]:
        """Process numbers of all there are."""
        with self._lock:
            spare = () if self._spare is None else (self._spare,)
            return {each.pid for each in (*self._working, *spare)}

    @property
    def working(self) -> set[int]:
        """Process numbers of those that were taken and have not ended."""
        with self._lock:
            return {each.pid for each in self._working}

    @property
    def is_spare_alive(self) -> bool:
        """Whether a worker is ready to be taken."""
        with self._lock:
            return self._spare is not None and self._spare.is_alive

    def hold(self) -> None:
        """Keep a spare worker from now on."""
        with self._lock:
            self._holders += 1
            if self._spare is None:
                self._spare = Worker()

    def release(self) -> None:
        """The opposite of `hold`."""
        with self._lock:
            self._holders -= 1
            spare = self._spare if not self._holders else None
            if spare is not None:
                self._spare = None
        if spare is not None:
            spare.kill()

    def take(self) -> Worker:
        """A worker for the caller alone, to be killed after use. Raises ServingError
        RESOURCE_EXHAUSTED when there are too many.
        """
        with self._lock:
            if len(self._working) >= self._max_workers:
                text = f"{self._max_workers} native workers are in use"
                raise ServingError(Status.RESOURCE_EXHAUSTED, text)
            spare, self._spare = self._spare, None
            worker = spare if spare is not None and spare.is_alive else Worker()
            if spare is not None and spare is not worker:
                spare.kill()
            self._working.add(worker)
            worker.on_end(lambda: self._forget(worker))
            if self._holders:
                self._spare = Worker()
        return worker

    def _forget(self, worker: Worker) -> None:
        with self._lock:
            self._working.discard(worker)

    def kill(self) -> None:
        """End every process; for the end of the server."""
        with self._lock:
            spare, self._spare = self._spare, None
            workers = list(self._working)
        for worker in [*workers, *([spare] if spare else [])]:
            worker.kill()


POOL: Final = Pool()
"""Of this process."""

atexit.register(POOL.kill)

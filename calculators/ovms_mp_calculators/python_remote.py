"""One worker process of a Python node, as the server sees it: calls go in, answers, log
lines and counts come out, and a limit that is passed ends it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ovms_mp.calculator import CalculatorError, metrics
from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.core.meters import Recorder
from ovms_mp.core.pending import Pending
from ovms_mp.isolation import frames
from ovms_mp.isolation.forking import Templates
from ovms_mp.isolation.frames import Frame, FrameError
from ovms_mp_calculators import python_wire
from ovms_mp_calculators.python_model import Declared, Generation, Tensors, declared
from ovms_mp_calculators.python_output import Voice
from ovms_mp_calculators.python_worker import LOOK_UP

LOAD_SECONDS: Final = 300.0
"""For a handler to be imported and initialized."""

FINALIZE_SECONDS: Final = 5.0

CANCEL_SECONDS: Final = 5.0
"""For an execution that nobody waits for to heed that; then its process is ended."""

SEND_SECONDS: Final = 5.0
"""For a worker to read what it is sent."""

MAX_COROUTINES: Final = 64
"""Calls that a worker with an asynchronous handler has at a time; others have one."""

MAX_QUEUED: Final = 1000
"""Calls that wait for a worker."""

TEMPLATES: Final = Templates("ovms_mp_calculators.python_worker")
_READ: Final = 1 << 16

_ids: Final = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Spec:
    """What a node's workers are to run, and within which limits; 0 for none."""

    path: Path
    label: str
    kwargs: dict[str, Any]
    voice: Voice
    recorder: Recorder
    workers: int = 1
    time_limit: float = 0.0
    """Seconds for one call."""
    memory_limit: int = 0
    """MiB, beyond what a worker has before it loads the handler."""


@dataclass(eq=False, slots=True)
class Call:
    """One thing that a worker is asked."""

    header: dict[str, Any]
    pending: Pending[Any]
    buffers: list[Any] = field(default_factory=list[Any])
    seconds: float = 0.0
    due: float = 0.0
    """When it has to be answered, once it is under way; 0 for never."""
    is_given_up: bool = False
    worker: Remote | None = None
    """Who was asked."""
    again: Callable[[], object] | None = None
    """Asks another worker, where one may be asked, if this one ends before it begins."""
    id: int = field(default_factory=lambda: next(_ids))

    @classmethod
    def of(
        cls, header: dict[str, Any], buffers: list[Any] | None = None, *, seconds: float
    ) -> Call:
        """A call that its worker hears of when its result is cancelled."""

        def cancel() -> None:
            call.cancel()

        call = cls(header, Pending(cancel), buffers or [], seconds)
        return call

    @property
    def fault(self) -> str:
        """Why it is not waited for when it is due."""
        what = self.header["call"]
        if self.is_given_up:
            return f"{what} did not heed that it was cancelled"
        return f"{what} took more than {self.seconds:g} s"

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        if self.worker is not None:
            self.worker.cancel(self)


def unavailable(text: str) -> CalculatorError:
    """Whoever asks again may be answered."""
    return CalculatorError(text, "UNAVAILABLE")


class Remote:
    """`run` is the work of one thread; the rest may be called from any."""

    def __init__(self, spec: Spec, answered: Callable[[], object]) -> None:
        """`answered` hears of every answer. TEMPLATES must be held. Raises OSError when
        no process can be started.
        """
        self._spec = spec
        self._answered = answered
        self._child = TEMPLATES.fork()
        self._child.link.settimeout(SEND_SECONDS)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._queued: deque[Call] = deque()
        self._running: dict[int, Call] = {}
        self._slots = 1
        self._why = ""
        self._is_over = False
        self.has_answered = False
        """It has been of use."""
        self.has_sessions = False
        self.tensors: Declared = {}

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._child.pid

    @property
    def is_over(self) -> bool:
        """True when no call will be answered any more."""
        return self._is_over

    @property
    def load(self) -> int:
        """Calls that are under way or wait."""
        return len(self._running) + len(self._queued)

    def start(self) -> Pending[Any]:
        """Load the handler. Fails with ServingError when that is refused."""
        spec = self._spec
        header = {
            "call": "load",
            "path": str(spec.path),
            "label": spec.label,
            "kwargs": spec.kwargs,
            "memory": spec.memory_limit,
        }
        call = Call(header, Pending(), seconds=LOAD_SECONDS, id=0)
        self.submit(call)
        return call.pending

    def submit(self, call: Call) -> None:
        """Ask, at once or when there is room. The call fails with CalculatorError."""
        call.worker = self
        with self._lock:
            problem = None
            if self._is_over:
                problem = unavailable(self._why)
            elif len(self._queued) >= MAX_QUEUED:
                text = f"{MAX_QUEUED} calls wait for the node's process"
                problem = CalculatorError(text, "RESOURCE_EXHAUSTED")
            elif len(self._running) < self._slots:
                self._send(call)
            else:
                self._queued.append(call)
        if problem is not None:
            call.pending.fail(problem)

    def cancel(self, call: Call) -> None:
        """Nobody waits for the call any more."""
        with self._lock:
            if call in self._queued:
                self._queued.remove(call)
            elif call.id in self._running:
                call.is_given_up = True
                until = time.monotonic() + CANCEL_SECONDS
                call.due = min(call.due or until, until)
                self._say({"call": "cancel", "id": call.id}, [])
                if self._slots == 1:
                    self._child.signal(LOOK_UP)
                os.eventfd_write(self._wake, 1)

    def kill(self) -> None:
        """End the process; what waits fails."""
        self._child.kill()

    def _send(self, call: Call) -> None:
        self._running[call.id] = call
        if call.seconds:
            call.due = time.monotonic() + call.seconds
            os.eventfd_write(self._wake, 1)
        self._say({**call.header, "id": call.id}, call.buffers)
        call.buffers = []

    def _say(self, header: dict[str, Any], buffers: list[Any]) -> None:
        try:
            frames.send(self._child.link, header, buffers)
        except OSError:
            self._child.kill()  # it does not read, or is gone

    def run(self) -> str:
        """Hear the worker until it has ended; returns how that came."""
        output = self._child.output
        exit_ = self._child.exit
        try:
            poll = select.poll()
            for descriptor in (self._child.link.fileno(), output, self._wake, exit_):
                poll.register(descriptor, select.POLLIN)
            while True:
                ready = {descriptor for descriptor, _ in poll.poll(self._patience())}
                if self._wake in ready:
                    os.eventfd_read(self._wake)
                if output in ready and not self._hear(output):
                    poll.unregister(output)
                if self._child.link.fileno() in ready and not self._take():
                    self._child.kill()
                    break
                if exit_ in ready:
                    break
                self._enforce()
        finally:
            self._end(output)
        return self._why

    def _patience(self) -> int | None:
        with self._lock:
            dues = [call.due for call in self._running.values() if call.due]
        if not dues:
            return None
        return max(0, int((min(dues) - time.monotonic()) * 1000) + 1)

    def _enforce(self) -> None:
        now = time.monotonic()
        with self._lock:
            late = [c for c in self._running.values() if c.due and c.due <= now]
            for call in late:
                del self._running[call.id]
                limit = "" if call.is_given_up else " (time_limit_ms of the node)"
                self._why = f"the node's process was ended: {call.fault}{limit}"
                self._is_over = True
        for call in late:
            call.pending.fail(CalculatorError(call.fault, "DEADLINE_EXCEEDED"))
        if late:
            self._child.kill()

    def _hear(self, output: int) -> bool:
        data = os.read(output, _READ)
        if data:
            self._spec.voice.hear(data)
        return bool(data)

    def _take(self) -> bool:
        """One frame; False when there will be no other."""
        try:
            self._judge(frames.receive(self._child.link))
        except (EOFError, OSError):
            return False
        except (FrameError, TypeError, ValueError, KeyError) as error:
            with self._lock:
                why = f"the node's process sent nonsense: {error}"
                self._why = self._why or why
                self._is_over = True
            return False
        return True

    def _judge(self, frame: Frame) -> None:
        header = frame.header
        if "log" in header:
            level = python_wire.number(header, "log")
            self._spec.voice.say(level, python_wire.text(header, "text"))
        elif "metrics" in header:
            metrics.replay(header["metrics"], self._spec.recorder)
        elif "loaded" in header:
            self.has_sessions = header["has_sessions"] is True
            self.tensors = declared(header["tensors"])
            with self._lock:
                call = self._running.pop(0)
                self._slots = MAX_COROUTINES if header["is_async"] is True else 1
            call.pending.complete(None)
        elif "refused" in header:
            with self._lock:
                call = self._running.pop(0)
            call.pending.fail(_refusal(header))
        else:
            self._settle(python_wire.number(header, "id"), frame)

    def _settle(self, number: int, frame: Frame) -> None:
        with self._lock:
            call = self._running.pop(number, None)
            if call is None:
                raise FrameError("an answer to no question")
        try:
            result = self._result(call, frame)
        except FrameError:
            self._running[number] = call  # it ends with the process
            raise
        with self._lock:
            while self._queued and len(self._running) < self._slots:
                self._send(self._queued.popleft())
        self.has_answered = True
        self._answered()
        if isinstance(result, CalculatorError):
            call.pending.fail(result)
        else:
            call.pending.complete(result)

    def _result(
        self, call: Call, frame: Frame
    ) -> Tensors | Generation | CalculatorError | None:
        header = frame.header
        if "error" in header:
            return CalculatorError(public_text(python_wire.text(header, "error")))
        if "tensors" in header:
            return python_wire.decode(header["tensors"], frame.buffers)
        is_generation = header.get("generation") is True
        return RemoteGeneration(self, call) if is_generation else None

    def _end(self, output: int) -> None:
        # What it has said before it ended counts, but for a liar.
        while not self._is_over and frames.is_waiting(self._child.link):
            if not self._take():
                break
        how = self._child.how_it_ended()
        self._why = self._why or f"the node's process ended{how}"
        os.set_blocking(output, False)
        with contextlib.suppress(OSError):
            while self._hear(output):
                pass
        with self._lock:
            self._is_over = True
            begun, queued = list(self._running.values()), list(self._queued)
            self._running.clear()
            self._queued.clear()
        self._child.bury()
        os.close(self._wake)
        for call in begun:
            call.pending.fail(unavailable(self._why))
        for call in queued:
            if call.again is None:
                call.pending.fail(unavailable(self._why))
            else:
                call.again()


class RemoteGeneration:
    """See Generation."""

    def __init__(self, worker: Remote, call: Call) -> None:
        self._worker = worker
        self._number = call.id
        self._seconds = call.seconds
        self._step: Call | None = None
        self._is_closed = False

    def step(self) -> Pending[Tensors | None]:
        """See Generation."""
        header = {"call": "step", "generation": self._number}
        call = self._step = Call.of(header, seconds=self._seconds)
        self._worker.submit(call)
        return call.pending

    def close(self) -> None:
        """See Generation."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._step is not None:
            self._step.pending.cancel()
        header = {"call": "close_generation", "generation": self._number}
        self._worker.submit(Call.of(header, seconds=self._seconds))


def _refusal(header: dict[str, Any]) -> ServingError:
    name = header["refused"]
    failed = Status.PYTHON_NODE_FILE_STATE_INITIALIZATION_FAILED
    status = Status.__members__.get(name, failed) if isinstance(name, str) else failed
    return ServingError(status, python_wire.text(header, "details"))

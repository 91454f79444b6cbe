"""A handler in worker processes: the PythonModel of `isolation: PROCESS`.

A stream's calls go to any worker, or to one for its whole life if the handler keeps
sessions. A worker that ends is started again, after a pause that grows; while workers
only end, calls are refused at once.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ovms_mp.calculator import CalculatorError
from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.core.pending import Pending
from ovms_mp.isolation.breaker import Backoff, Breaker, Circuit, Event
from ovms_mp_calculators import python_wire
from ovms_mp_calculators.python_remote import (
    FINALIZE_SECONDS,
    MAX_QUEUED,
    TEMPLATES,
    Call,
    Remote,
    Spec,
    unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovms_mp_calculators.python_model import Answer, Declared, Tensors

log = logging.getLogger(__name__)

KEEP_ENDING: Final = "the node's processes keep ending; it is tried again soon"

_NO_SESSION: Final = 0
_sessions: Final = itertools.count(1)


class RemoteModel:
    """See PythonModel. Thread-safe."""

    def __init__(
        self, spec: Spec, changed: Callable[[], object] = lambda: None
    ) -> None:
        """Start the workers and load the handler in each. `changed` is called when there
        is `trouble`, and when there is none any more. Raises ServingError.
        """
        self._spec = spec
        self._changed = changed
        self._lock = threading.Lock()
        self._breaker = Breaker()
        self._is_tried = False
        self._workers: list[Remote] = []
        self._alive: set[Remote] = set()
        """Those that load, too."""
        self._waiting: deque[tuple[Call, RemoteSession]] = deque()
        self._ending = threading.Event()
        self._starting = threading.Condition(self._lock)
        self._loaded = 0
        self._refusal: BaseException | None = None
        self.tensors: Declared = {}
        self._threads = [
            threading.Thread(target=self._supervise, name="worker", daemon=True)
            for _ in range(spec.workers)
        ]
        for each in self._threads:
            each.start()
        with self._starting:
            self._starting.wait_for(
                lambda: self._refusal or self._loaded == spec.workers
            )
        if self._refusal is not None:
            self._stop()
            raise self._refusal

    @property
    def spec(self) -> Spec:
        """What the workers run."""
        return self._spec

    @property
    def trouble(self) -> str:
        """Why calls are refused, whoever makes them; empty if they are not."""
        return KEEP_ENDING if self._breaker.circuit is Circuit.OPEN else ""

    @property
    def pids(self) -> set[int]:
        """Process numbers of the workers that can be asked."""
        with self._lock:
            return {each.pid for each in self._workers}

    def open(self, *, is_serial: bool) -> RemoteSession:
        """See PythonModel."""
        return RemoteSession(self)

    def finalize(self) -> None:
        """See PythonModel. Returns within some seconds, whatever the handler does."""
        with self._lock:
            self._ending.set()
            workers = list(self._workers)
            loading = self._alive.difference(workers)
        for worker in loading:
            worker.kill()
        for worker in workers:
            worker.submit(Call.of({"call": "finalize"}, seconds=FINALIZE_SECONDS))
        until = time.monotonic() + FINALIZE_SECONDS + 1.0
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._stop()

    def _stop(self) -> None:
        with self._lock:
            self._ending.set()
            alive = list(self._alive)
        for each in alive:
            each.kill()

    # Calls

    def submit(self, call: Call, session: RemoteSession) -> None:
        """Ask the session's worker, or any. Raises CalculatorError when there is none
        to wait for.
        """
        with self._lock:
            self._admit()
            worker = self._choose(session)
            if worker is None:
                if len(self._waiting) >= MAX_QUEUED:
                    text = f"{MAX_QUEUED} calls wait for the node's processes"
                    raise CalculatorError(text, "RESOURCE_EXHAUSTED")
                self._waiting.append((call, session))
                return
            self._is_tried = self._breaker.circuit is Circuit.HALF_OPEN
        if worker.has_sessions:
            call.header["session"] = session.number
        else:
            call.again = partial(self._submit_again, call, session)
        worker.submit(call)

    def _admit(self) -> None:
        circuit = self._breaker.circuit
        if circuit is Circuit.OPEN or (circuit is Circuit.HALF_OPEN and self._is_tried):
            raise unavailable(KEEP_ENDING)

    def _choose(self, session: RemoteSession) -> Remote | None:
        if session.worker is not None:
            if session.worker.is_over:
                raise unavailable("the process that kept the session has ended")
            return session.worker
        workers = [each for each in self._workers if not each.is_over]
        worker = min(workers, key=lambda each: each.load, default=None)
        if worker is not None and worker.has_sessions:
            session.worker = worker
        return worker

    # Workers

    def _supervise(self) -> None:
        with TEMPLATES.held():
            self._keep_alive()

    def _keep_alive(self) -> None:
        backoff = Backoff()
        while not self._ending.is_set():
            born = time.monotonic()
            has_answered = False
            try:
                worker = Remote(self._spec, self._answered)
            except OSError as error:
                log.error("%s: no process can be started: %s", self._label, error)
                self._died(None, "no process can be started")
            else:
                self._watch(worker)
                has_answered = worker.has_answered
            life = time.monotonic() - born
            self._ending.wait(backoff.pause(life, has_answered=has_answered))

    def _watch(self, worker: Remote) -> None:
        with self._lock:
            self._alive.add(worker)
            is_late = self._ending.is_set()
        if is_late:
            worker.kill()
        loading = worker.start()
        loading.on_settled(lambda settled: self._ready(worker, settled))
        why = worker.run()
        with self._lock:
            self._alive.discard(worker)
        self._died(worker, why)

    @property
    def _label(self) -> str:
        return self._spec.voice.label

    def _ready(self, worker: Remote, loading: Pending[Any]) -> None:
        if loading.error is not None:
            log.error("%s: %s", self._label, loading.error)
            with self._starting:
                if self._loaded < self._spec.workers and self._refusal is None:
                    self._refusal = _as_refusal(loading.error)
                    self._starting.notify_all()
            worker.kill()
            return
        log.debug("%s: process %d is ready", self._label, worker.pid)
        with self._starting:
            self._loaded += 1
            self.tensors = worker.tensors
            self._workers.append(worker)
            was_refusing = bool(self.trouble)
            self._breaker.on(Event.READY)
            self._is_tried = False
            self._starting.notify_all()
            waiting, self._waiting = self._waiting, deque()
            is_late = self._ending.is_set()
        if is_late:
            worker.kill()
        if was_refusing:
            self._changed()
        for call, session in waiting:
            self._submit_again(call, session)

    def _submit_again(self, call: Call, session: RemoteSession) -> None:
        if call.pending.is_settled:
            return  # cancelled
        try:
            self.submit(call, session)
        except CalculatorError as error:
            call.pending.fail(error)

    def _answered(self) -> None:
        with self._lock:
            was_refusing = bool(self.trouble)
            self._breaker.answered()
            has_changed = was_refusing and not self.trouble
        if has_changed:
            self._changed()

    def _died(self, worker: Remote | None, why: str) -> None:
        if self._ending.is_set():
            return
        log.error("%s: %s; another one is started", self._label, why)
        refused: list[Call] = []
        with self._lock:
            if worker in self._workers:
                self._workers.remove(worker)
            was_refusing = bool(self.trouble)
            self._breaker.died()
            if self.trouble:
                refused = [call for call, _ in self._waiting]
                self._waiting.clear()
        for call in refused:
            call.pending.fail(unavailable(why))
        if self.trouble and not was_refusing:
            self._changed()


class RemoteSession:
    """See ModelSession."""

    def __init__(self, model: RemoteModel) -> None:
        self._model = model
        self.number = next(_sessions)
        self.worker: Remote | None = None
        """Who keeps the session, once that is settled."""

    def execute(self, inputs: Tensors) -> Pending[Answer]:
        """See ModelSession."""
        headers, buffers = python_wire.encode(inputs)
        header = {"call": "execute", "tensors": headers, "session": _NO_SESSION}
        call = Call.of(header, buffers, seconds=self._model.spec.time_limit)
        self._model.submit(call, self)
        return call.pending

    def close(self) -> None:
        """See ModelSession."""
        worker, self.worker = self.worker, None
        if worker is not None:
            header = {"call": "close_session", "session": self.number}
            seconds = self._model.spec.time_limit
            worker.submit(Call.of(header, seconds=seconds))


def _as_refusal(error: BaseException) -> ServingError:
    if isinstance(error, ServingError):
        return error
    status = Status.PYTHON_NODE_FILE_STATE_INITIALIZATION_FAILED
    return ServingError(status, public_text(str(error)))

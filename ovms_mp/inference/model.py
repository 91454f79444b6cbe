"""A model is its ports and a pool of slots; an inference is one user's turn on a slot.

OpenVINO's own asynchrony is not used: a callback of `start_async` is not called when an
inference fails or is cancelled, so a slot could not come back. A thread that waits for
`infer` always learns the end, and is faster too (a tiny model: 41 against 74 us).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from math import inf
from time import perf_counter
from typing import Final, Protocol

import numpy as np

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import NO_INFO, ModelInfo
from ovms_mp.core.pace import Pace
from ovms_mp.core.pending import Cancelled, Pending
from ovms_mp.core.threads import Threads, is_returning, returning, takes_long
from ovms_mp.inference.engine import (
    MAX_QUEUE_LENGTH,
    TRIAL_SECONDS,
    Inferred,
    Ports,
    TensorData,
)
from ovms_mp.inference.pace import Paces
from ovms_mp.inference.pool import SlotPool
from ovms_mp.inference.state import StatefulSlot

# Enough inferences to know a short model, and time enough for them on a busy machine.
_TRIALS: Final = 8
_TRIALS_SECONDS: Final = 0.02
# Whose first inference takes this long is not short, whatever the machine does.
_LONG: Final = 100_000_000

# Between cancels of the same inference, in seconds.
_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.1

_log = logging.getLogger(__name__)


class Slot(Protocol):
    """Infers for one user at a time."""

    def infer(self, tensors: Sequence[TensorData]) -> Inferred:
        """Block until it is done. Afterwards nobody reads `tensors` any more, whether
        it returns or raises; the outputs are nobody else's.
        """
        ...

    def cancel(self) -> None:
        """Make an `infer` that runs in another thread raise soon. Does not block."""
        ...


class PooledModel:
    """A CompiledModel (see engine.py) made of slots, without knowing of what kind.

    `threads` belongs to the engine. Inferences that are expected to be short, because
    the latest ones of the same shapes were, run in the thread that asks.
    """

    def __init__(
        self,
        inputs: Ports,
        outputs: Ports,
        slots: Sequence[Slot],
        threads: Threads,
        *,
        streams: int = 0,
        max_queue_length: int | None = None,
        model_info: ModelInfo = NO_INFO,
    ) -> None:
        self.model_info: Final = model_info
        self.inputs: Final = inputs
        self.outputs: Final = outputs
        self.slots: Final = len(slots)
        self.streams: Final = streams
        self.pool: Final = SlotPool(
            slots,
            MAX_QUEUE_LENGTH if max_queue_length is None else max_queue_length,
        )
        self.is_stateful: Final = any(isinstance(one, StatefulSlot) for one in slots)
        self._threads = threads
        self._paces = Paces(inputs)
        self._closing = ExitStack()

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self.pool.busy

    @property
    def waiting(self) -> int:
        """Inferences in the queue."""
        return self.pool.waiting

    @property
    def is_short(self) -> bool:
        """True if any inference is expected to take less than SHORT."""
        return self._paces.usual.is_short

    @property
    def pace(self) -> float:
        """Nanoseconds that an inference is expected to take; inf if that is unknown,
        or depends on shapes.
        """
        return self._paces.usual.expected

    def infer(
        self, tensors: Sequence[TensorData], *, is_patient: bool = False
    ) -> Pending[Inferred]:
        """See engine.CompiledModel."""
        slot = self.pool.take()
        pace = self._paces.of(tensors)
        if slot is not None and pace is not None and pace.is_short:
            return self._infer_here(slot, tensors, pace)
        inference = _Inference(self, tensors, pace)
        if slot is None:
            inference.wait(self.pool.acquire(is_patient=is_patient))
        else:
            inference.go(slot)
        return inference.result

    def infer_at_once(self, tensors: Sequence[TensorData]) -> Inferred | None:
        """See engine.CompiledModel. Of models with static shapes only."""
        pace = self._paces.usual
        slot = self.pool.spare() if pace.is_short else None
        if slot is None:
            return None
        try:
            inferred = slot.infer(tensors)
        except BaseException as error:
            raise _failure(error) from error
        finally:
            self.pool.give(slot)
        pace.measured(inferred.engine_ns)
        return inferred

    def try_out(self, warm_up: float = TRIAL_SECONDS) -> None:
        """Infer from zeros before the first user asks: once, for at most `warm_up`
        seconds, and of what may be short, some times more, to learn how long that takes.
        What fails then is left to fail for users.
        """
        if not self._paces.is_static or (slot := self.pool.take()) is None:
            return
        try:
            zeros = _zeros(self.inputs)
            with _limit(slot, warm_up):  # pays for what OpenVINO puts off until then
                first = slot.infer(zeros)
            if first.engine_ns < _LONG:
                with _limit(slot, TRIAL_SECONDS):
                    self._paces.usual.settle(_fastest(slot, zeros))
        except Exception as error:
            _log.debug("an inference of zeros failed", exc_info=error)
        finally:
            self.pool.give(slot)

    def when_closed(self, callback: Callable[[], object]) -> None:
        """Have it called by `close`, once."""
        self._closing.callback(callback)

    def close(self) -> None:
        """See engine.CompiledModel."""
        self.pool.close()
        self._closing.close()

    def hand_over(self, slot: Slot, inference: _Inference) -> None:
        """Let another thread run `inference` on `slot`, or this one, if it is about to
        rest.
        """
        work = partial(inference.run, slot)
        if not takes_long(work):
            self._threads.run(work)

    def insist(self, work: Callable[[], object]) -> None:
        """Do `work`, which ends with an inference, in another thread. Raises
        RuntimeError if there is none.
        """
        self._threads.run(work)

    def _infer_here(
        self, slot: Slot, tensors: Sequence[TensorData], pace: Pace
    ) -> Pending[Inferred]:
        """Nobody else knows of the result yet: nobody can cancel."""
        try:
            inferred = slot.infer(tensors)
            pace.measured(inferred.engine_ns)
        except BaseException as error:
            self.pool.give(slot)
            result: Pending[Inferred] = Pending()
            _fail(result, error)
            return result
        self.pool.give(slot)
        return Pending.completed(inferred)


def _zeros(inputs: Ports) -> list[TensorData]:
    """Raises ValueError if an input has no numbers."""
    zeros: list[TensorData] = []
    for port in inputs:
        if port.datatype is None:
            raise ValueError(f"{port.element_type} has no zero")
        shape = [dim.minimum for dim in port.shape or ()]
        zeros.append(np.zeros(shape, port.datatype.dtype))
    return zeros


@contextmanager
def _limit(slot: Slot, seconds: float) -> Generator[None]:
    """What is inferred within is cancelled after so long."""
    limit = threading.Timer(seconds, slot.cancel)
    limit.start()
    try:
        yield
    finally:
        limit.cancel()
        limit.join()


def _fastest(slot: Slot, tensors: Sequence[TensorData]) -> float:
    """Of some inferences."""
    end = perf_counter() + _TRIALS_SECONDS
    pace = inf
    for _ in range(_TRIALS):
        pace = min(pace, slot.infer(tensors).engine_ns)
        if perf_counter() > end:
            break
    return pace


def _fail(result: Pending[Inferred], reason: BaseException) -> None:
    """Tell, and log unless the result was cancelled."""
    error = _failure(reason)
    if result.fail(error):
        _log.warning("an inference failed: %s", error, exc_info=error)


def _failure(reason: BaseException) -> ServingError:
    """What whoever asked is told."""
    if isinstance(reason, ServingError):
        return reason
    error = ServingError(Status.OV_INTERNAL_INFERENCE_ERROR)
    error.__cause__ = reason
    return error


class _Inference:
    """One turn in another thread. `result` may be cancelled from any thread."""

    __slots__ = (
        "_is_of_run",
        "_lock",
        "_model",
        "_over",
        "_pace",
        "_queued",
        "_running_on",
        "_tensors",
        "result",
    )

    def __init__(
        self, model: PooledModel, tensors: Sequence[TensorData], pace: Pace | None
    ) -> None:
        self.result: Final[Pending[Inferred]] = Pending(self._cancel)
        self._model = model
        self._tensors = tensors
        self._pace = pace
        self._over: threading.Event | None = None
        self._queued: Pending[Slot] | None = None
        self._running_on: Slot | None = None
        self._lock = threading.Lock()
        self._is_of_run = is_returning()
        """A graph's run has asked, and hears of the result on its strand."""

    def wait(self, queued: Pending[Slot]) -> None:
        """Go on when the slot comes."""
        self._queued = queued
        queued.on_settled(self._slot_came)

    def go(self, slot: Slot) -> None:
        """Run in another thread; without one, fail."""
        try:
            self._model.hand_over(slot, self)
        except RuntimeError:  # no thread can be had: the engine ends, or the process
            self._model.pool.give(slot)
            self.result.fail(ServingError(Status.MODEL_VERSION_NOT_LOADED_ANYMORE))

    def run(self, slot: Slot) -> None:
        """Infer on `slot`, give it back, then tell the result. Blocks; never raises."""
        outcome = self._turn(slot)
        if isinstance(outcome, Inferred):
            self.result.complete(outcome)
        else:
            _fail(self.result, outcome)

    def _slot_came(self, queued: Pending[Slot]) -> None:
        error = queued.error
        if error is None:
            self.go(queued.value())
        else:
            self.result.fail(error)

    def _turn(self, slot: Slot) -> Inferred | BaseException:
        try:
            if not self._enter(slot):
                return Cancelled()
            inferred = slot.infer(self._tensors)
            if self._pace is not None:
                # Without the time that threads wait for the interpreter: a busy server
                # must not make a model look slow.
                self._pace.measured(inferred.engine_ns)
        except BaseException as error:
            return error
        else:
            return inferred
        finally:
            self._leave()
            self._give(slot)

    def _give(self, slot: Slot) -> None:
        """To who waits longest. Where another thread can go on with what was inferred, this
        one infers for him: the slot has no time to cool.
        """
        if self._is_of_run:
            with returning:
                self._model.pool.give(slot)
        else:
            self._model.pool.give(slot)

    def _enter(self, slot: Slot) -> bool:
        """From here on `_cancel` reaches the slot; False if it has been called."""
        with self._lock:
            if self.result.is_settled:
                return False
            self._running_on = slot
            return True

    def _leave(self) -> None:
        """From here on `_cancel` does not touch the slot, which is somebody else's."""
        with self._lock:
            self._running_on = None
            if self._over is not None:
                self._over.set()
        self._tensors = ()

    def _cancel(self) -> None:
        if self._queued is not None:
            self._queued.cancel()
        with self._lock:
            if self._running_on is None:
                return
            self._running_on.cancel()
            over = self._over = threading.Event()
        # No thread can be had when the engine ends, which waits for this inference.
        with suppress(RuntimeError):
            self._model.insist(partial(self._insist, over))

    def _insist(self, over: threading.Event) -> None:
        """Cancel again until it is over: a cancel that comes before OpenVINO has started
        is one of nothing, and nobody tells when it starts.
        """
        pause = _FIRST_PAUSE
        while not over.wait(pause):
            pause = min(2 * pause, _LONGEST_PAUSE)
            with self._lock:
                if self._running_on is not None:
                    self._running_on.cancel()

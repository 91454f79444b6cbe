"""A model is its ports and a pool of slots; an inference is one user's turn on a slot.

OpenVINO's own asynchrony is not used: a callback of `start_async` is not called when an
inference fails or is cancelled, so a slot could not come back. A thread that waits for
`infer` always learns the end, and is faster too (a tiny model: 41 against 74 us).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import partial
from math import inf
from time import perf_counter
from typing import Final, Protocol

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pending import Cancelled, Pending
from ovms_mp.core.tensor import Array
from ovms_mp.inference.engine import InferenceObserver, Ports
from ovms_mp.inference.pool import SlotPool
from ovms_mp.inference.threads import Threads

# Up to here the caller's thread infers itself: to hand the work to another thread and
# the result back costs some 30 us, and no caller minds to be kept this long.
SHORT: Final = 200e-6
# One slow inference among fast ones changes little, ten in a row everything.
_WEIGHT_OF_LATEST: Final = 1 / 8

_log = logging.getLogger(__name__)


class Slot(Protocol):
    """Infers for one user at a time."""

    def infer(self, tensors: Sequence[Array]) -> tuple[Array, ...]:
        """Block until it is done. Afterwards nobody reads `tensors` any more, whether
        it returns or raises; what it returns is nobody else's.
        """
        ...

    def cancel(self) -> None:
        """Make an `infer` that runs in another thread raise soon. Does not block."""
        ...


class PooledModel:
    """A CompiledModel (see engine.py) made of slots, without knowing of what kind.

    `threads` belongs to the engine. Inferences that are expected to be short, because
    all shapes are static and the latest ones were, run in the thread that asks.
    """

    def __init__(
        self,
        inputs: Ports,
        outputs: Ports,
        slots: Sequence[Slot],
        threads: Threads,
        streams: int = 0,
    ) -> None:
        self.inputs: Final = inputs
        self.outputs: Final = outputs
        self.slots: Final = len(slots)
        self.streams: Final = streams
        self.pool: Final = SlotPool(slots)
        self._threads = threads
        self._has_pace = all(port.is_static for port in inputs)
        self._pace: float | None = None

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
        """True if an inference is expected to take less than SHORT."""
        return self._has_pace and self._pace is not None and self._pace < SHORT

    def infer(
        self, tensors: Sequence[Array], observer: InferenceObserver | None = None
    ) -> Pending[tuple[Array, ...]]:
        """See engine.CompiledModel."""
        inference = _Inference(self, tensors, observer)
        slot = self.pool.take()
        if slot is None:
            inference.wait(self.pool.acquire())
        elif self.is_short:
            inference.run(slot)
        else:
            inference.go(slot)
        return inference.result

    def close(self) -> None:
        """See engine.CompiledModel."""
        self.pool.close()

    def measured(self, seconds: float) -> None:
        """An inference took this long."""
        pace = self._pace
        if pace is None:  # the first one pays for what OpenVINO puts off until then
            self._pace = inf
        elif pace == inf:
            self._pace = seconds
        else:
            self._pace = pace + (seconds - pace) * _WEIGHT_OF_LATEST

    def hand_over(self, slot: Slot, inference: _Inference) -> None:
        """Let another thread run `inference` on `slot`."""
        self._threads.run(partial(inference.run, slot))


class _Inference:
    """One turn. `result` may be cancelled from any thread at any time."""

    __slots__ = (
        "_arrived",
        "_lock",
        "_model",
        "_observer",
        "_queued",
        "_running_on",
        "_tensors",
        "result",
    )

    def __init__(
        self,
        model: PooledModel,
        tensors: Sequence[Array],
        observer: InferenceObserver | None,
    ) -> None:
        self.result: Final[Pending[tuple[Array, ...]]] = Pending(self._cancel)
        self._model = model
        self._tensors = tensors
        self._observer = observer
        self._arrived = perf_counter()
        self._queued: Pending[Slot] | None = None
        self._running_on: Slot | None = None
        self._lock = threading.Lock()

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
        if isinstance(outcome, tuple):
            self.result.complete(outcome)
            return
        if not isinstance(outcome, ServingError):
            failed = ServingError(Status.OV_INTERNAL_INFERENCE_ERROR)
            failed.__cause__ = outcome
            outcome = failed
        if self.result.fail(outcome):
            _log.warning("an inference failed: %s", outcome, exc_info=outcome)

    def _slot_came(self, queued: Pending[Slot]) -> None:
        error = queued.error
        if error is None:
            self.go(queued.value())
        else:
            self.result.fail(error)

    def _turn(self, slot: Slot) -> tuple[Array, ...] | BaseException:
        observer = self._observer
        try:
            begun = perf_counter()
            if observer is not None:
                observer.waited(begun - self._arrived)
                observer.active(1)
            if not self._enter(slot):
                return Cancelled()
            outputs = slot.infer(self._tensors)
            seconds = perf_counter() - begun
            self._model.measured(seconds)
            if observer is not None:
                observer.inferred(seconds)
        except BaseException as error:
            return error
        else:
            return outputs
        finally:
            self._leave()
            self._model.pool.give(slot)
            if observer is not None:
                observer.active(-1)

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
        self._tensors = ()

    def _cancel(self) -> None:
        if self._queued is not None:
            self._queued.cancel()
        with self._lock:
            if self._running_on is not None:
                self._running_on.cancel()

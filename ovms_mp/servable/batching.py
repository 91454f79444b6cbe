"""Who waits for a model at the same time is inferred together, in one batch, and gets his
part of what comes out: as many rows as he brought, in their order.

Requests join along the first dimension, and only with those whose other dimensions are
the same. Each was judged before. A batch that fails is no reason for its members to:
they are inferred one by one, and only who fails then has failed. Words and defaults are
those of Triton's dynamic batcher.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pending import Cancelled, Pending
from ovms_mp.inference.engine import MAX_QUEUE_LENGTH, Inferred
from ovms_mp.servable.batch_queue import BatchQueue
from ovms_mp.servable.statistics import Batches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ovms_mp.core.tensor import Array
    from ovms_mp.inference.engine import CompiledModel, Port, TensorData
    from ovms_mp.repository.config import DynamicBatching, ModelSpec
    from ovms_mp.servable.alarms import Alarms
    from ovms_mp.servable.batch_queue import Key
    from ovms_mp.servable.statistics import ModelStatistics
    from ovms_mp.telemetry.values import Histogram

log: Final = logging.getLogger(__name__)

_MICROSECONDS: Final = 1e6


class _Member:
    """One request's inference. Only the batcher's lock guards `flight`."""

    __slots__ = ("asked", "flight", "key", "result", "rows", "tensors")

    def __init__(
        self, tensors: Sequence[Array], rows: int, key: Key, batcher: Batcher
    ) -> None:
        self.tensors = tensors
        self.rows = rows
        self.key = key
        """With whom it may be joined; None: with nobody."""
        self.asked = monotonic()
        self.flight: _Flight | None = None
        self.result: Final[Pending[Inferred]] = Pending(lambda: batcher.leave(self))


class _Flight:
    """A batch that is being inferred."""

    __slots__ = ("inner", "members", "wanted")

    def __init__(self, members: Sequence[_Member]) -> None:
        self.members: Final = members
        self.wanted = len(members)
        """How many of them have not given up."""
        self.inner: Pending[Inferred] | None = None


class Batcher:
    """Infers with `model`, at most as many batches at a time as it has slots; while all
    are in use, batches grow. Thread-safe; nothing blocks, but for inferences that are
    short, which happen in the thread that asks.

    `max_queue_length` is how many inferences may wait; None: MAX_QUEUE_LENGTH. `observe`
    is told of each batch that was inferred: its rows, and how it went. Raises
    ServingError (MODEL_NOT_LOADED) if the model cannot take batches of each size.
    """

    def __init__(
        self,
        model: CompiledModel,
        policy: DynamicBatching,
        alarms: Alarms,
        observe: Callable[[int, Inferred], object],
        *,
        max_queue_length: int | None = None,
    ) -> None:
        _check(model, policy.max_batch_size)
        self._model = model
        delay = policy.max_queue_delay_microseconds / _MICROSECONDS
        self._queue: BatchQueue[_Member] = BatchQueue(policy.max_batch_size, delay)
        self._alarms = alarms
        self._observe = observe
        self._max_waiting = (
            MAX_QUEUE_LENGTH if max_queue_length is None else max_queue_length
        )
        self._lock = threading.Lock()
        self._running = 0
        self._wakes_at: float | None = None

    @property
    def waiting(self) -> int:
        """Inferences that are in no batch yet."""
        return len(self._queue)

    def infer(
        self, tensors: Sequence[TensorData], *, is_patient: bool = False
    ) -> Pending[Inferred]:
        """See CompiledModel. Times are those of the batch. Outputs may be parts of
        arrays that hold the whole batch.
        """
        arrays = [each for each in tensors if isinstance(each, np.ndarray)]
        assert len(arrays) == len(tensors)  # bytes are for ports of one shape
        rows = _rows(arrays)
        fits = 0 < rows <= self._queue.max_rows
        key = tuple([each.shape[1:] for each in arrays]) if fits else None
        member = _Member(arrays, rows, key, self)
        with self._lock:
            if not is_patient:
                self._check_room()
            self._queue.add(member)
        self._go_on()
        return member.result

    def leave(self, member: _Member) -> None:
        """The member's client has given up: it is inferred no more, nor is a batch of
        which nobody else is left.
        """
        with self._lock:
            flight = member.flight
            if flight is None:
                self._queue.remove(member)
                return
            flight.wanted -= 1
            inner = None if flight.wanted else flight.inner
        if inner is not None:
            inner.cancel()

    def close(self) -> None:
        """Fail those that wait. The model is closed by whose it is."""
        with self._lock:
            waiting = self._queue.take_all()
        for member in waiting:
            member.result.fail(ServingError(Status.MODEL_VERSION_NOT_LOADED_ANYMORE))

    # With the lock

    def _check_room(self) -> None:
        most = self._max_waiting
        if self._running < self._model.slots:  # what waits there only waits for others
            most = max(most, self._queue.max_rows)
        if len(self._queue) >= most:
            raise ServingError(
                Status.RESOURCE_EXHAUSTED,
                f"{self._max_waiting} inferences wait for the model already",
            )

    def _next(self) -> _Flight | None:
        """A batch that is to be inferred now; if there is none but will be, wake up."""
        if self._running >= self._model.slots:
            return None
        now = monotonic()
        members = self._queue.take(now)
        if not members:
            self._wake_up(now)
            return None
        self._running += 1
        flight = _Flight(members)
        for member in members:
            member.flight = flight
        return flight

    def _wake_up(self, now: float) -> None:
        due = self._queue.due()
        if due is not None and (self._wakes_at is None or due < self._wakes_at):
            self._wakes_at = due
            self._alarms.after(max(due - now, 0.0), self._wake)

    # Without

    def _wake(self) -> None:
        with self._lock:
            self._wakes_at = None
        self._go_on()

    def _go_on(self, landed: _Flight | None = None) -> None:
        """Infer what is ready. What is `landed` is told once the next batch is on its
        way: the model is not to wait until everybody has heard.
        """
        while True:
            with self._lock:
                flight = self._next()
            if flight is not None:
                self._start(flight)
            if landed is not None:
                self._land(landed)
            elif flight is None:
                return
            landed = None
            if flight is None:
                continue  # members of what landed may wait again
            inner = flight.inner
            assert inner is not None
            if inner.is_settled:
                self._let_go()
                landed = flight
            else:
                inner.on_settled(lambda _, flight=flight: self._came(flight))

    def _came(self, flight: _Flight) -> None:
        self._let_go()
        self._go_on(flight)

    def _let_go(self) -> None:
        with self._lock:
            self._running -= 1

    def _start(self, flight: _Flight) -> None:
        members = flight.members
        try:
            flight.inner = self._model.infer(_join(members))
        except Exception as error:
            flight.inner = Pending()
            flight.inner.fail(error)
        with self._lock:
            is_wanted = bool(flight.wanted)
        if not is_wanted:
            flight.inner.cancel()

    def _land(self, flight: _Flight) -> None:
        """Give each member its part, or another try by itself."""
        members, inner = flight.members, flight.inner
        assert inner is not None
        error = inner.error
        if error is None:
            inferred = inner.value()
            rows = sum(member.rows for member in members)
            if len(members) == 1 or _is_whole(inferred, rows):
                self._observe(rows, inferred)
                _give(members, inferred)
                return
            log.error(
                "The outputs of a batch of %d have not %d rows each, but %s: requests "
                "are not joined any more",
                *(rows, rows, [each.shape for each in inferred.outputs]),
            )
            self._queue.max_rows = 1
        elif len(members) == 1:
            members[0].result.fail(error)
            return
        if isinstance(error, Cancelled):  # by its last member
            return
        if error is not None:
            log.info("a batch failed, its %d requests are inferred alone", len(members))
        self._alone_again(members)

    def _alone_again(self, members: Sequence[_Member]) -> None:
        with self._lock:
            for member in members:
                if not member.result.is_settled:
                    member.key = member.flight = None
                    self._queue.add(member)


class Joint:
    """How a version joins its requests, and what came of it."""

    def __init__(self, batcher: Batcher, batches: Batches) -> None:
        self.batcher: Final = batcher
        self._batches = batches

    def told_of(self, statistics: ModelStatistics) -> ModelStatistics:
        """Of the version, in terms of rows and batches."""
        return self._batches.added_to(statistics)


def join_requests(
    model: CompiledModel,
    spec: ModelSpec | None,
    alarms: Alarms,
    sizes: Callable[[str, str], Histogram],
    version: str,
) -> Joint | None:
    """What `spec` asks for, None if requests stay by themselves. Raises ServingError for
    a model that is compiled anew for each shape, and as Batcher.
    """
    policy = spec and spec.dynamic_batching
    if spec is None or policy is None or policy.max_batch_size == 1:
        return None
    if spec.adaptation.is_auto:
        # How many rows a batch has is chance: each number would be a compilation.
        details = "dynamic_batching: not with a shape or batch_size of auto; -1 will do"
        raise ServingError(Status.MODEL_NOT_LOADED, details)
    batches = Batches()
    observed: list[Histogram] = []

    def observe(rows: int, inferred: Inferred) -> None:
        batches.inferred(rows, inferred)
        for histogram in observed:
            histogram.observe(rows)

    batcher = Batcher(
        model, policy, alarms, observe, max_queue_length=spec.max_queue_length
    )
    observed.append(sizes(spec.name, version))  # one that cannot is not on the page
    return Joint(batcher, batches)


def _check(model: CompiledModel, most: int) -> None:
    if model.is_stateful:
        details = "dynamic_batching: the model has a state, which is each request's own"
        raise ServingError(Status.MODEL_NOT_LOADED, details)
    for side, ports in (("input", model.inputs), ("output", model.outputs)):
        for port in ports:
            if not _takes_batches(port, most):
                shape = ",".join(map(str, port.shape or ()))
                raise ServingError(
                    Status.MODEL_NOT_LOADED,
                    f"dynamic_batching: the first dimension of {side} {port.name} is "
                    f"not free for batches of 1 to {most}; its shape: ({shape})",
                )


def _takes_batches(port: Port, most: int) -> bool:
    if port.shape is None:
        return True  # seen when there is a batch
    if not port.shape or port.batch_axis:  # a layout has it elsewhere
        return False
    return all(port.shape[0].admits(rows) for rows in (1, most))


def _rows(arrays: Sequence[Array]) -> int:
    """As many as each input has, 0 if they do not agree."""
    found = {each.shape[0] if each.ndim else 0 for each in arrays}
    return found.pop() if len(found) == 1 else 0


def _join(members: Sequence[_Member]) -> list[Any]:
    if len(members) == 1:
        return list(members[0].tensors)
    tensors = zip(*(member.tensors for member in members), strict=True)
    return [np.concatenate(parts) for parts in tensors]


def _is_whole(inferred: Inferred, rows: int) -> bool:
    return all(each.ndim and each.shape[0] == rows for each in inferred.outputs)


def _give(members: Sequence[_Member], inferred: Inferred) -> None:
    if len(members) == 1:
        members[0].result.complete(inferred)
        return
    start = 0
    for member in members:
        end = start + member.rows
        part = tuple([each[start:end] for each in inferred.outputs])
        member.result.complete(inferred._replace(outputs=part))
        start = end

"""Slots that do what a test says, and who watches them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError
from ovms_mp.core.pending import Pending
from ovms_mp.core.shape import Dim
from ovms_mp.core.tensor import Array, Datatype
from ovms_mp.inference.engine import Inferred, Port, Ports, TensorData
from ovms_mp.inference.model import PooledModel

X = np.zeros((1, 10), np.float32)
STATIC = (Dim(1, 1), Dim(10, 10))
DYNAMIC = (Dim(0, -1), Dim(0, -1))


def ports(shape: tuple[Dim, ...] = STATIC) -> Ports:
    return Ports([Port("x", frozenset({"x"}), Datatype.FP32, "f32", shape)])


def inferred(array: Array, begun: int, engine_ns: int | None = None) -> Inferred:
    now = time.perf_counter_ns()
    taken = now - begun if engine_ns is None else engine_ns
    return Inferred((array,), begun, begun, now, now, taken)


class GatedSlot:
    """Each inference ends when the test says so, with what the test says."""

    def __init__(self) -> None:
        self.begun: SimpleQueue[Array] = SimpleQueue()
        self.outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
        self.cancelled = threading.Event()

    def infer(self, tensors: Sequence[TensorData]) -> Inferred:
        begun = time.perf_counter_ns()
        array = np.asarray(tensors[0])
        self.begun.put(array)
        outcome = self.outcomes.get(timeout=10)
        if outcome is not None:
            raise outcome
        return inferred(array + 1, begun)

    def cancel(self) -> None:
        if not self.cancelled.is_set():  # a second one finds nothing to do
            self.cancelled.set()
            self.outcomes.put(RuntimeError("Infer Request was canceled"))


class LateSlot:
    """Starts when the test says so; a cancel that comes before is lost, as OpenVINO's
    is. Nothing but a cancel ends what has started.
    """

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.start = threading.Event()
        self.lost = threading.Event()
        self._has_started = False
        self._cancelled = threading.Event()

    def infer(self, tensors: Sequence[TensorData]) -> Inferred:
        self.entered.set()
        assert self.start.wait(10)
        self._has_started = True
        assert self._cancelled.wait(10)
        raise RuntimeError("Infer Request was canceled")

    def cancel(self) -> None:
        if self._has_started:
            self._cancelled.set()
        else:
            self.lost.set()


class SlowSlot:
    """Says that it took the time that the test says."""

    def __init__(self, nanoseconds: int) -> None:
        self.nanoseconds = nanoseconds
        self.count = 0
        self.thread: threading.Thread | None = None

    def infer(self, tensors: Sequence[TensorData]) -> Inferred:
        self.thread = threading.current_thread()
        self.count += 1
        now = time.perf_counter_ns()
        return inferred(np.asarray(tensors[0]), now, self.nanoseconds)

    def cancel(self) -> None: ...


def await_(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.0005)


def run_until_short(model: PooledModel) -> None:
    def is_short() -> bool:
        model.infer([X]).result(10)
        return model.is_short

    await_(is_short)


def error_of(pending: Pending[Inferred]) -> ServingError:
    with pytest.raises(ServingError) as caught:
        pending.result(10)
    return caught.value

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
from ovms_mp.core.tensor import Array, Datatype
from ovms_mp.inference.engine import Dim, Port, Ports
from ovms_mp.inference.model import PooledModel

X = np.zeros((1, 10), np.float32)
STATIC = (Dim(1, 1), Dim(10, 10))
DYNAMIC = (Dim(0, -1), Dim(0, -1))


def ports(shape: tuple[Dim, ...] = STATIC) -> Ports:
    return Ports([Port("x", frozenset({"x"}), Datatype.FP32, "f32", shape)])


class GatedSlot:
    """Each inference ends when the test says so, with what the test says."""

    def __init__(self) -> None:
        self.begun: SimpleQueue[Array] = SimpleQueue()
        self.outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
        self.cancelled = threading.Event()

    def infer(self, tensors: Sequence[Array]) -> tuple[Array, ...]:
        self.begun.put(tensors[0])
        outcome = self.outcomes.get(timeout=10)
        if outcome is not None:
            raise outcome
        return (tensors[0] + 1,)

    def cancel(self) -> None:
        self.cancelled.set()
        self.outcomes.put(RuntimeError("Infer Request was canceled"))


class SlowSlot:
    """Takes the time that the test says."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.thread: threading.Thread | None = None

    def infer(self, tensors: Sequence[Array]) -> tuple[Array, ...]:
        self.thread = threading.current_thread()
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass
        return (tensors[0],)

    def cancel(self) -> None: ...


class Observed:
    def __init__(self) -> None:
        self.waits: list[float] = []
        self.times: list[float] = []
        self.now_active = 0
        self.most_active = 0

    def waited(self, seconds: float) -> None:
        self.waits.append(seconds)

    def active(self, delta: int) -> None:
        self.now_active += delta
        self.most_active = max(self.most_active, self.now_active)

    def inferred(self, seconds: float) -> None:
        self.times.append(seconds)


def await_(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.0005)


def run_until_short(model: PooledModel) -> None:
    """At once, unless the machine is busy with something else."""

    def is_short() -> bool:
        model.infer([X]).result(10)
        return model.is_short

    await_(is_short)


def error_of(pending: Pending[tuple[Array, ...]]) -> ServingError:
    with pytest.raises(ServingError) as caught:
        pending.result(10)
    return caught.value

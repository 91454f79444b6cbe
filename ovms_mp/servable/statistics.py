"""What a version of a model, or a graph, has done since it was loaded, in the terms of
Triton's ModelStatistics: how many times, and how many nanoseconds in all.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from ovms_mp.inference.engine import Inferred
    from ovms_mp.telemetry.meters import ModelMeter


@dataclass(frozen=True, slots=True)
class Duration:
    """Triton's StatisticDuration: `count` times took `ns` nanoseconds together."""

    count: int = 0
    ns: int = 0


_NEVER: Final = Duration()


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """Triton's InferBatchStatistics: of the executions with so many rows."""

    size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """A version of a model at one moment.

    A request is a ModelInfer that named the version, or one inference of a graph. It
    counts as a `success` or a `fail`, with the time from its arrival to its answer, and
    without the time on the wire. A request that a client cancelled is neither.

    The rest is of successes: `queue` is the time until an infer request was free,
    `compute_input` until the inputs were where OpenVINO reads them, `compute_infer`
    until OpenVINO was done, `compute_output` until the outputs were taken from it.

    Each success is one inference and one execution, unless requests are joined: then
    each row is an inference, each batch an execution, and `batches` tells of them.
    `last_inference` is when the latest one succeeded, in milliseconds since 1970, 0 if
    none has.
    """

    success: Duration = _NEVER
    fail: Duration = _NEVER
    queue: Duration = _NEVER
    compute_input: Duration = _NEVER
    compute_infer: Duration = _NEVER
    compute_output: Duration = _NEVER
    inference_count: int = 0
    execution_count: int = 0
    last_inference: int = 0
    batches: tuple[BatchStatistics, ...] = ()


class Batches:
    """Counts the batches of one version. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_size: dict[int, tuple[int, int, int, int]] = {}

    def inferred(self, rows: int, inferred: Inferred) -> None:
        """So many rows in one execution."""
        _, begun, bound, done, ended, _ = inferred
        with self._lock:
            count, given, infer, taken = self._by_size.get(rows, (0, 0, 0, 0))
            self._by_size[rows] = (
                count + 1,
                given + bound - begun,
                infer + done - bound,
                taken + ended - done,
            )

    def added_to(self, statistics: ModelStatistics) -> ModelStatistics:
        """Told of a version as a whole, in terms of rows and batches."""
        with self._lock:
            known = sorted(self._by_size.items())
        return replace(
            statistics,
            inference_count=sum(rows * times[0] for rows, times in known),
            execution_count=sum(times[0] for _, times in known),
            batches=tuple(
                BatchStatistics(
                    rows,
                    Duration(count, given),
                    Duration(count, infer),
                    Duration(count, taken),
                )
                for rows, (count, given, infer, taken) in known
            ),
        )


Row: TypeAlias = "tuple[str, int, int, Inferred]"
"""An answer: the interface it came by, when it came, when it was answered, and how."""

# Answers that are counted together: so few that whoever does it is not late for his own.
_ROWS: Final = 64


class Recorder:
    """Counts one version. Thread-safe; every request passes here, so all that can be
    put off until somebody asks is. Times are of `time.perf_counter_ns`.

    `meter` is told of requests that are counted together; the others are its user's.
    """

    __slots__ = (
        "_begun",
        "_failed",
        "_infer",
        "_input",
        "_last",
        "_lock",
        "_lost",
        "_meter",
        "_output",
        "_queue",
        "_rows",
        "_succeeded",
        "_success",
        "_wasted",
    )

    def __init__(self, meter: ModelMeter | None = None) -> None:
        self._meter = meter
        self._rows: deque[Row] = deque()
        self._lock = threading.Lock()
        self._begun = self._succeeded = self._failed = self._lost = 0
        self._success = self._wasted = 0
        self._queue = self._input = self._infer = self._output = 0
        self._last = 0

    @property
    def in_process(self) -> int:
        """Requests that have arrived and are not answered."""
        with self._lock:
            return self._begun - self._succeeded - self._failed - self._lost

    def arrived(self) -> None:
        """A request has come; one of the others follows."""
        with self._lock:
            self._begun += 1

    def succeeded(self, arrived: int, asked: int, inferred: Inferred) -> int:
        """It is answered. It arrived then, and asked for an infer request then. Returns
        how long it took.
        """
        _, begun, bound, done, ended, _ = inferred
        now = time.perf_counter_ns()
        taken = now - arrived
        with self._lock:
            self._succeeded += 1
            self._success += taken
            self._queue += begun - asked
            self._input += bound - begun
            self._infer += done - bound
            self._output += ended - done
            self._last = now
        return taken

    def answered(self, interface: str, arrived: int, inferred: Inferred) -> None:
        """A request came then, asked for an infer request at once, and is answered. Of
        a graph's inference the interface is "".

        It is counted with others: one by one that would take a sixth of their time.
        """
        rows = self._rows
        rows.append((interface, arrived, time.perf_counter_ns(), inferred))
        if len(rows) >= _ROWS:
            self.settle()

    def settle(self) -> None:
        """Count those that are answered and not counted yet."""
        rows = self._rows
        with self._lock:
            for _ in range(len(rows)):
                row = rows.popleft()
                _, arrived, now, (_, begun, bound, done, ended, engine) = row
                self._begun += 1
                self._succeeded += 1
                self._success += now - arrived
                self._queue += begun - arrived
                self._input += bound - begun
                self._infer += done - bound
                self._output += ended - done
                self._last = now
                if self._meter is not None:
                    self._meter.inferred(begun - arrived, engine)
                    if row[0]:
                        self._meter.answered(row[0], now - arrived)

    def failed(self, arrived: int) -> None:
        """It is refused, or its inference failed."""
        now = time.perf_counter_ns()
        with self._lock:
            self._failed += 1
            self._wasted += now - arrived

    def cancelled(self) -> None:
        """Nobody waits for its answer any more."""
        with self._lock:
            self._lost += 1

    def statistics(self) -> ModelStatistics:
        """Of this moment."""
        self.settle()
        with self._lock:
            count = self._succeeded
            age = time.perf_counter_ns() - self._last
            return ModelStatistics(
                success=Duration(count, self._success),
                fail=Duration(self._failed, self._wasted),
                queue=Duration(count, self._queue),
                compute_input=Duration(count, self._input),
                compute_infer=Duration(count, self._infer),
                compute_output=Duration(count, self._output),
                inference_count=count,
                execution_count=count,
                last_inference=(time.time_ns() - age) // 10**6 if count else 0,
            )


class Answers:
    """Counts the answers of one graph. Each is one inference and one execution, however
    many models and calculators it took; a stream's request without an answer is none,
    and one with several is several. Thread-safe; times are of `time.perf_counter`.
    """

    __slots__ = ("_answered", "_lock", "_refused", "_spent", "_told", "_wasted")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered = self._refused = 0
        self._spent = self._wasted = self._told = 0.0

    def answered(self, arrived: float | None) -> None:
        """An answer to what arrived then; None if no request is known for it."""
        now = time.perf_counter()
        with self._lock:
            self._answered += 1
            self._spent += now - arrived if arrived is not None else 0.0
            self._told = now

    def refused(self, arrived: float | None = None) -> None:
        """A request was refused, or the run failed that had it, a while after it came."""
        now = time.perf_counter()
        with self._lock:
            self._refused += 1
            self._wasted += now - arrived if arrived is not None else 0.0

    def statistics(self) -> ModelStatistics:
        """Of this moment; a graph is not divided into queue and compute."""
        with self._lock:
            count = self._answered
            ago = time.perf_counter() - self._told
            return ModelStatistics(
                success=Duration(count, round(self._spent * 1e9)),
                fail=Duration(self._refused, round(self._wasted * 1e9)),
                inference_count=count,
                execution_count=count,
                last_inference=round((time.time() - ago) * 1e3) if count else 0,
            )

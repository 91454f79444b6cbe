"""Metrics of one's own: a handler, or any calculator's `load`, declares them while it is
loaded, and they are on the server's page.

    from ovms_mp.calculator.metrics import Counter, Gauge, Histogram

    class OvmsPythonModel:
        def initialize(self, kwargs):
            self.words = Counter("words", "Words that were counted.", labels=("language",))

        def execute(self, inputs):
            self.words.inc(3, language="en")

On the page it is `ovms_mp_node_words{graph="…",node="…",language="en"}`. Without a
server that shows metrics nothing is kept. Thread-safe.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, cast

from ovms_mp.core.meters import Kind, Meter, Recorder

MAX_NOTES: Final = 10_000
"""Observations that a worker process keeps until it next speaks; more are dropped."""

_RECORDER: Final[ContextVar[Recorder | None]] = ContextVar("recorder", default=None)


@contextmanager
def recording(recorder: Recorder) -> Generator[None]:
    """What is declared in the block is the recorder's."""
    token = _RECORDER.set(recorder)
    try:
        yield
    finally:
        _RECORDER.reset(token)


class _Metric:
    """A declared meter. Raises ValueError or TypeError for what does not do, RuntimeError
    when nothing is being loaded.
    """

    kind: Kind

    def __init__(
        self,
        name: str,
        help: str,  # noqa: A002  # Prometheus's word
        *,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = (),
    ) -> None:
        recorder = _RECORDER.get()
        if recorder is None:
            raise RuntimeError("metrics are declared while a handler is loaded")
        # What prometheus_client lets one end with, a page has anyway.
        bounds = tuple(each for each in map(float, buckets) if each != math.inf)
        self._meter = Meter(self.kind, name, help, tuple(labels), bounds)
        self._recorder = recorder
        recorder.declare(self._meter)

    def _record(self, amount: float, labels: dict[str, object]) -> None:
        if labels.keys() != set(self._meter.labels):
            expected = ", ".join(self._meter.labels) or "none"
            given = ", ".join(labels) or "none"
            raise ValueError(f"expected the labels {expected}, found {given}")
        values = tuple(str(labels[label]) for label in self._meter.labels)
        self._recorder.record(self._meter.name, values, amount)


class Counter(_Metric):
    """What only grows."""

    kind = "counter"

    def inc(self, amount: float = 1, **labels: object) -> None:
        """So many more. Raises ValueError if that is negative, or labels are wrong."""
        self._record(amount, labels)


class Gauge(_Metric):
    """What is now. With several worker processes it is what the last of them said."""

    kind = "gauge"

    def set(self, value: float, **labels: object) -> None:
        """It is this. Raises ValueError for labels that are wrong."""
        self._record(value, labels)


class Histogram(_Metric):
    """What is distributed, in buckets."""

    kind = "histogram"

    def observe(self, value: float, **labels: object) -> None:
        """One more of this size. Raises ValueError for labels that are wrong."""
        self._record(value, labels)


def check(meter: Meter | None, values: tuple[str, ...], amount: float) -> Meter:
    """The meter that takes the number. Raises ValueError."""
    if meter is None:
        raise ValueError("the metric was not declared")
    if len(values) != len(meter.labels):
        raise ValueError(f"expected {len(meter.labels)} label values")
    if not math.isfinite(amount) or (meter.kind == "counter" and amount < 0):
        raise ValueError(f"{amount} is no number for a {meter.kind}")
    return meter


class Nobody:
    """A Recorder that checks and forgets."""

    def __init__(self) -> None:
        self._meters: dict[str, Meter] = {}

    def declare(self, meter: Meter) -> None:
        """See Recorder."""
        if self._meters.setdefault(meter.name, meter) != meter:
            raise ValueError(f'the metric "{meter.name}" is something else already')

    def record(self, name: str, values: tuple[str, ...], amount: float) -> None:
        """See Recorder."""
        check(self._meters.get(name), values, amount)

    def close(self) -> None:
        """See Recorder."""


class Notes(Nobody):
    """What a worker process has to tell the server: summed up as far as it can be."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._declared: list[Any] = []
        self._sums: dict[tuple[str, tuple[str, ...]], float] = {}
        self._observed: list[tuple[str, tuple[str, ...], float]] = []

    def declare(self, meter: Meter) -> None:
        """See Recorder."""
        super().declare(meter)
        row = (meter.kind, meter.name, meter.help, meter.labels, meter.buckets)
        with self._lock:
            self._declared.append(row)

    def record(self, name: str, values: tuple[str, ...], amount: float) -> None:
        """See Recorder."""
        meter = check(self._meters.get(name), values, amount)
        with self._lock:
            if meter.kind == "histogram":
                if len(self._observed) < MAX_NOTES:
                    self._observed.append((name, values, amount))
                return
            before = self._sums.get((name, values), 0.0)
            if meter.kind == "gauge":
                before = 0.0
            if len(self._sums) < MAX_NOTES or (name, values) in self._sums:
                self._sums[name, values] = before + amount

    def take(self) -> dict[str, Any] | None:
        """All of it, to be sent and replayed; None if there is nothing."""
        with self._lock:
            declared, self._declared = self._declared, []
            sums, self._sums = self._sums, {}
            observed, self._observed = self._observed, []
        if not (declared or sums or observed):
            return None
        rows = [(*key, amount) for key, amount in sums.items()]
        return {"declared": declared, "recorded": [*rows, *observed]}


def replay(notes: Any, recorder: Recorder) -> None:
    """Give the recorder what a worker has noted. Raises TypeError, ValueError or
    KeyError for notes that are none.
    """
    for row in cast("list[Any]", notes["declared"]):
        kind, name, help_, labels, buckets = row
        if kind not in {"counter", "gauge", "histogram"}:
            raise ValueError("a metric of an unknown kind")
        bounds = tuple(float(each) for each in buckets)
        recorder.declare(
            Meter(kind, str(name), str(help_), tuple(map(str, labels)), bounds)
        )
    for name, values, amount in cast("list[Any]", notes["recorded"]):
        recorder.record(str(name), tuple(map(str, values)), float(amount))

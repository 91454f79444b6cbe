"""Metrics that user code declares, on the page beside the server's own: under a prefix,
with graph and node, and never more of them than a limit.
"""

from __future__ import annotations

import logging
import math
import threading
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from ovms_mp.core.meters import MAX_LABEL_VALUE, MAX_METERS, MAX_SERIES, Meter
from ovms_mp.telemetry.page import Sample, Section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovms_mp.telemetry.values import Labels

log = logging.getLogger(__name__)

PREFIX: Final = "ovms_mp_node_"

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Where nobody names any: Prometheus's, which suit seconds."""


class _Family:
    """A meter and its numbers: one for each set of labels, of a histogram one for each
    bucket and the sum.
    """

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.buckets = meter.buckets or _BUCKETS
        self.owners: set[tuple[str, str]] = set()
        """Nodes that have declared it."""
        self.series: dict[Labels, list[float]] = {}

    def record(self, labels: Labels, amount: float) -> None:
        numbers = self.series[labels]
        match self.meter.kind:
            case "counter":
                numbers[0] += amount
            case "gauge":
                numbers[0] = amount
            case "histogram":
                numbers[bisect_left(self.buckets, amount)] += 1
                numbers[-1] += amount

    def add(self, labels: Labels) -> None:
        size = len(self.buckets) + 2 if self.meter.kind == "histogram" else 1
        self.series[labels] = [0.0] * size

    def section(self) -> Section | None:
        meter, samples = self.meter, dict[Sample, float]()
        name = PREFIX + meter.name
        for labels, numbers in self.series.items():
            pairs = tuple(zip(("graph", "node", *meter.labels), labels, strict=True))
            if meter.kind != "histogram":
                samples[Sample(name, pairs)] = float(numbers[0])
                continue
            *counts, total = numbers
            bounds = (*map(str, self.buckets), "+Inf")
            for bound, count in zip(bounds, accumulate(counts), strict=True):
                samples[Sample(f"{name}_bucket", (*pairs, ("le", bound)))] = count
            samples[Sample(f"{name}_count", pairs)] = sum(counts)
            samples[Sample(f"{name}_sum", pairs)] = float(total)
        return Section(name, meter.kind, meter.help, samples) if samples else None


class CustomMetrics:
    """All that have been declared. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._families: dict[str, _Family] = {}
        self._nodes: dict[tuple[str, str], int] = {}

    def graph(self, name: str) -> GraphRecorders:
        """The service of one graph."""
        return GraphRecorders(self, name)

    def sections(self) -> Iterator[Section]:
        """Of the page, by name."""
        with self._lock:
            families = sorted(self._families.items())
            sections = [family.section() for _, family in families]
        return (each for each in sections if each is not None)

    def opened(self, graph: str, node: str) -> None:
        """A node of that name is loaded, maybe beside an older one."""
        with self._lock:
            self._nodes[graph, node] = self._nodes.get((graph, node), 0) + 1

    def closed(self, graph: str, node: str) -> None:
        """One of them is gone; after the last one nothing of it is shown."""
        with self._lock:
            self._nodes[graph, node] -= 1
            if self._nodes[graph, node]:
                return
            del self._nodes[graph, node]
            for name, family in list(self._families.items()):
                for labels in [
                    each for each in family.series if each[:2] == (graph, node)
                ]:
                    del family.series[labels]
                family.owners.discard((graph, node))
                if not family.owners:
                    del self._families[name]

    def declare(self, meter: Meter, graph: str, node: str) -> None:
        """Raises ValueError if the name is another one's."""
        with self._lock:
            family = self._families.setdefault(meter.name, _Family(meter))
            if family.meter != meter:
                raise ValueError(f'the metric "{meter.name}" is something else already')
            family.owners.add((graph, node))
            if not meter.labels and (graph, node) not in family.series:
                # Prometheus's rate() misses the first event of a counter that comes
                # with it.
                family.add((graph, node))

    def record(self, meter: Meter, labels: Labels, amount: float) -> None:
        """Count, unless there are too many labels already."""
        with self._lock:
            family = self._families.get(meter.name)
            if family is None or family.meter != meter:
                return  # of a node that is gone
            if labels not in family.series:
                known = sum(each[:2] == labels[:2] for each in family.series)
                if known >= MAX_SERIES:
                    return
                family.add(labels)
                if known + 1 == MAX_SERIES:
                    text = 'graph %s: node "%s": no more labels of "%s" are counted'
                    log.warning(text, *labels[:2], meter.name)
            family.record(labels, amount)


class GraphRecorders:
    """The Recorders of one graph."""

    def __init__(self, metrics: CustomMetrics, graph: str) -> None:
        self._metrics = metrics
        self._graph = graph

    def of(self, node: str) -> NodeRecorder:
        """See Recorders."""
        return NodeRecorder(self._metrics, self._graph, node)


class NodeRecorder:
    """The Recorder of one node."""

    def __init__(self, metrics: CustomMetrics, graph: str, node: str) -> None:
        self._metrics = metrics
        self._place = (graph, node)
        self._meters: dict[str, Meter] = {}
        metrics.opened(graph, node)

    def declare(self, meter: Meter) -> None:
        """See Recorder."""
        if meter.name not in self._meters and len(self._meters) >= MAX_METERS:
            raise ValueError(f"expected at most {MAX_METERS} metrics of a node")
        self._metrics.declare(meter, *self._place)
        self._meters[meter.name] = meter

    def record(self, name: str, values: tuple[str, ...], amount: float) -> None:
        """See Recorder."""
        meter = self._meters.get(name)
        if meter is None or len(values) != len(meter.labels):
            raise ValueError("the metric was not declared with such labels")
        if not math.isfinite(amount) or (meter.kind == "counter" and amount < 0):
            raise ValueError(f"{amount} is no number for a {meter.kind}")
        short = tuple(map(_shown, values))
        self._metrics.record(meter, (*self._place, *short), amount)

    def close(self) -> None:
        """See Recorder."""
        self._metrics.closed(*self._place)


def _shown(value: str) -> str:
    # Two that would be shown as one are one: a page has each set of labels once.
    short = value[:MAX_LABEL_VALUE]
    return short if short.isascii() else short.encode(errors="replace").decode()

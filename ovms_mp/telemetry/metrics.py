"""What has happened, counted under OVMS's names for Prometheus to read.

prometheus_client keeps the values, `telemetry.page` writes them down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.telemetry import families
from ovms_mp.telemetry.families import FAMILIES, OF_WORKERS, Family, Kind
from ovms_mp.telemetry.page import Page, Sample, Section, render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

_API: Final = "KServe"
_INTERFACES: Final = ("gRPC", "REST")
_MICROSECONDS: Final = 1e6

_Values: TypeAlias = tuple[str, ...]
_Collector = TypeVar("_Collector", Counter, Gauge, Histogram)


class _Off:
    """What counts for a disabled family: nothing."""

    def inc(self, amount: float = 1) -> None: ...

    def dec(self, amount: float = 1) -> None: ...

    def set(self, value: float) -> None: ...

    def observe(self, amount: float) -> None: ...


_OFF: Final = _Off()


class _Children(dict[_Values, _Collector | _Off], Generic[_Collector]):
    """What counts, by label values, each resolved once; `_OFF` without a family."""

    def __init__(self, family: _Collector | None) -> None:
        super().__init__()
        self._family = family

    def __missing__(self, values: _Values) -> _Collector | _Off:
        child = _OFF if self._family is None else self._family.labels(*values)
        # Two threads may both come here: prometheus_client gives them the same child.
        self[values] = child
        return child


class Metrics:
    """Thread-safe. `families` are the names of exactly those to enable, None for the
    default ones. Raises ServingError (INVALID_METRICS_FAMILY_NAME) for a name that is
    none. Methods of a disabled family do nothing.

    Label values must come from what is served, never from what a client asked for: each
    new set of them stays. An empty `version` leaves that label out, as OVMS does for
    ModelReady and for graphs. Times are in seconds.
    """

    def __init__(self, names: Iterable[str] | None = None) -> None:
        self._registry = CollectorRegistry()
        self._enabled = _enabled(names)
        self._success = self._counter(families.REQUESTS_SUCCESS)
        self._fail = self._counter(families.REQUESTS_FAIL)
        self._request_time = self._histogram(families.REQUEST_TIME)
        self._current_requests = self._gauge(families.CURRENT_REQUESTS)
        self._streams = self._gauge(families.STREAMS)
        self._inference_time = self._histogram(families.INFERENCE_TIME)
        self._wait_time = self._histogram(families.WAIT_TIME)
        self._queue_size = self._gauge(families.QUEUE_SIZE)
        self._active = self._gauge(families.ACTIVE)
        self._current_graphs = self._gauge(families.CURRENT_GRAPHS)
        self._accepted = self._counter(families.REQUESTS_ACCEPTED)
        self._rejected = self._counter(families.REQUESTS_REJECTED)
        self._responses = self._counter(families.RESPONSES)
        self._graph_error = self._counter(families.GRAPH_ERROR)
        self._graph_time = self._histogram(families.GRAPH_TIME)
        self._graph_latency = self._histogram(families.GRAPH_LATENCY)

    @classmethod
    def off(cls) -> Metrics:
        """Metrics of which no family is enabled."""
        return cls(())

    @property
    def is_enabled(self) -> bool:
        """True if there is any family to show."""
        return bool(self._enabled)

    @property
    def measures_latency(self) -> bool:
        """True if someone wants `graph_request_latency`."""
        return families.GRAPH_LATENCY.name in self._enabled

    def page(self) -> Page:
        """What has happened so far."""
        sections = map(_section, self._registry.collect())
        return tuple(section for section in sections if section is not None)

    def enabled(self, page: Page) -> Page:
        """Of a page, the sections that are to be shown."""
        return tuple(section for section in page if section.name in self._enabled)

    def render(self) -> bytes:
        """The page as Prometheus reads it."""
        return render(self.page())

    # Models

    def model_loaded(self, name: str, version: str) -> None:
        """Show the version's request counters from now on (OVMS): Prometheus's rate()
        misses the first event of a counter that appears with it.
        """
        for interface in _INTERFACES:
            for family in (self._success, self._fail):
                family[_API, interface, "ModelInfer", name, version].inc(0)
                family[_API, interface, "ModelMetadata", name, version].inc(0)
                family[_API, interface, "ModelReady", name, ""].inc(0)

    def model_request(
        self, name: str, version: str, interface: str, method: str, *, ok: bool
    ) -> None:
        """A request was answered, well or with an error."""
        family = self._success if ok else self._fail
        family[_API, interface, method, name, version].inc()

    def request_time(
        self, name: str, version: str, interface: str, seconds: float
    ) -> None:
        """A request took this long, from its arrival to its answer."""
        self._request_time[interface, name, version].observe(seconds * _MICROSECONDS)

    def requests_started(self, name: str, version: str) -> None:
        """One inference request more is in process."""
        self._current_requests[name, version].inc()

    def requests_finished(self, name: str, version: str) -> None:
        """One inference request less is in process."""
        self._current_requests[name, version].dec()

    def streams(self, name: str, version: str, count: int) -> None:
        """OpenVINO runs the version with this many execution streams."""
        self._streams[name, version].set(count)

    def inference_time(self, name: str, version: str, seconds: float) -> None:
        """An inference was this long in OpenVINO."""
        self._inference_time[name, version].observe(seconds * _MICROSECONDS)

    def wait_for_infer_request(self, name: str, version: str, seconds: float) -> None:
        """An inference waited this long for a free slot."""
        self._wait_time[name, version].observe(seconds * _MICROSECONDS)

    def infer_request_queue_size(self, name: str, version: str, n: int) -> None:
        """The version has this many slots."""
        self._queue_size[name, version].set(n)

    def infer_requests_active(self, name: str, version: str, delta: int) -> None:
        """This many more slots are in use, or less if negative."""
        self._active[name, version].inc(delta)

    # Graphs

    def graph_loaded(self, name: str) -> None:
        """Show the graph from now on, with nothing in process."""
        self._current_graphs[(name,)].inc(0)

    def graph_opened(self, name: str) -> None:
        """A unary request or a stream begins to use the graph."""
        self._current_graphs[(name,)].inc()

    def graph_closed(self, name: str) -> None:
        """A unary request or a stream has left the graph."""
        self._current_graphs[(name,)].dec()

    def graph_requests_accepted(self, name: str, interface: str, method: str) -> None:
        """A message's packets went into the graph."""
        self._accepted[_API, interface, method, name].inc()

    def graph_requests_rejected(self, name: str, interface: str, method: str) -> None:
        """A message did not become packets."""
        self._rejected[_API, interface, method, name].inc()

    def graph_responses(self, name: str, interface: str, method: str) -> None:
        """An answer left the graph."""
        self._responses[_API, interface, method, name].inc()

    def graph_error(self, name: str, interface: str, method: str) -> None:
        """The graph failed."""
        self._graph_error[_API, interface, method, name].inc()

    def graph_processing_time(self, name: str, method: str, seconds: float) -> None:
        """A session that ended well lasted this long."""
        self._graph_time[method, name].observe(seconds * _MICROSECONDS)

    def graph_request_latency(self, name: str, method: str, seconds: float) -> None:
        """A packet came out this long after its request had arrived."""
        self._graph_latency[method, name].observe(seconds * _MICROSECONDS)

    def _counter(self, family: Family) -> _Children[Counter]:
        assert family.kind is Kind.COUNTER
        if family.name not in self._enabled:
            return _Children[Counter](None)
        args = (family.name, family.help, family.labels)
        return _Children(Counter(*args, registry=self._registry))

    def _gauge(self, family: Family) -> _Children[Gauge]:
        assert family.kind is Kind.GAUGE
        if family.name not in self._enabled:
            return _Children[Gauge](None)
        args = (family.name, family.help, family.labels)
        return _Children(Gauge(*args, registry=self._registry))

    def _histogram(self, family: Family) -> _Children[Histogram]:
        assert family.kind is Kind.HISTOGRAM
        if family.name not in self._enabled:
            return _Children[Histogram](None)
        args = (family.name, family.help, family.labels)
        buckets = families.BUCKETS
        return _Children(Histogram(*args, buckets=buckets, registry=self._registry))


def _enabled(names: Iterable[str] | None) -> frozenset[str]:
    known = (*FAMILIES, *OF_WORKERS)
    if names is None:
        return frozenset(family.name for family in known if family.is_default)
    enabled = frozenset(names)
    unknown = enabled - {family.name for family in known}
    if unknown:
        raise ServingError(Status.INVALID_METRICS_FAMILY_NAME, min(unknown))
    return enabled


def _section(metric: Metric) -> Section | None:
    """A family's samples; nothing before it has a first child (as OVMS)."""
    suffix = "_total" if metric.type == "counter" else ""
    samples = {
        Sample(each.name.removesuffix(suffix), tuple(each.labels.items())): each.value
        for each in metric.samples
        if not each.name.endswith("_created")
    }
    if not samples:
        return None
    return Section(metric.name, metric.type, metric.documentation, samples)

"""What has happened, counted under OVMS's names for Prometheus to read.

`telemetry.values` keeps the values, `telemetry.page` writes them down.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.telemetry import families
from ovms_mp.telemetry.custom import PREFIX, CustomMetrics
from ovms_mp.telemetry.families import FAMILIES, OF_WORKERS, Family, Kind
from ovms_mp.telemetry.meters import GraphMeter, ModelMeter, StreamMeter
from ovms_mp.telemetry.nodes import NodeMeters
from ovms_mp.telemetry.page import Page, render
from ovms_mp.telemetry.values import MICROSECONDS, Counter, Gauge, Histogram, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_API: Final = "KServe"
_INTERFACES: Final = ("gRPC", "REST")
_INFER: Final = "ModelInfer"
_STREAM: Final = "gRPC", "ModelInferStream"


class Metrics:
    """Thread-safe. `families` are the names of exactly those to enable, None for the
    default ones. Raises ServingError (INVALID_METRICS_FAMILY_NAME) for a name that is
    none. Disabled families are not shown.

    Label values must come from what is served, never from what a client asked for: each
    new set of them stays. An empty `version` leaves that label out, as OVMS does for
    ModelReady and for graphs. Times are in seconds.
    """

    def __init__(self, names: Iterable[str] | None = None) -> None:
        self._enabled = _enabled(names)
        self.custom = CustomMetrics()
        """What user code declares."""
        self._settle: dict[tuple[str, str], Callable[[], object]] = {}
        self._success = self._counters(families.REQUESTS_SUCCESS)
        self._fail = self._counters(families.REQUESTS_FAIL)
        self._request_time = self._histograms(families.REQUEST_TIME)
        self._current_requests = self._gauges(families.CURRENT_REQUESTS)
        self._streams = self._gauges(families.STREAMS)
        self._inference_time = self._histograms(families.INFERENCE_TIME)
        self._wait_time = self._histograms(families.WAIT_TIME)
        self._queue_size = self._gauges(families.QUEUE_SIZE)
        self._active = self._gauges(families.ACTIVE)
        self._current_graphs = self._gauges(families.CURRENT_GRAPHS)
        self._accepted = self._counters(families.REQUESTS_ACCEPTED)
        self._rejected = self._counters(families.REQUESTS_REJECTED)
        self._responses = self._counters(families.RESPONSES)
        self._graph_error = self._counters(families.GRAPH_ERROR)
        self._graph_time = self._histograms(families.GRAPH_TIME)
        self._graph_latency = self._histograms(families.GRAPH_LATENCY)
        self._batch_size = self._histograms(families.BATCH_SIZE)
        self._reloads = self._counters(families.RELOADS)
        self._outdated = self._gauges(families.OUTDATED)
        self._open_streams = self._gauges(families.OPEN_STREAMS)
        self._first_response = self._histograms(families.FIRST_RESPONSE)
        self._cancelled = self._counters(families.CANCELLED)
        self._dropped = self._counters(families.DROPPED)
        self._node_time = self._histograms(families.NODE_TIME)
        self._node_queue = self._gauges(families.NODE_QUEUE)
        self._failures = self._told(families.FAILURES)
        self._limit = self._gauges(families.LIMIT)
        self._memory = self._gauges(families.MEMORY)
        self._nodes: dict[str, NodeMeters] = {}
        self._families = (
            self._success,
            self._fail,
            self._request_time,
            self._current_requests,
            self._streams,
            self._inference_time,
            self._wait_time,
            self._queue_size,
            self._active,
            self._current_graphs,
            self._accepted,
            self._rejected,
            self._responses,
            self._graph_error,
            self._graph_time,
            self._graph_latency,
            self._batch_size,
            self._reloads,
            self._outdated,
            self._open_streams,
            self._first_response,
            self._cancelled,
            self._dropped,
            self._node_time,
            self._node_queue,
            self._failures,
            self._limit,
            self._memory,
        )

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
        for settle in tuple(self._settle.values()):
            settle()
        sections = (family.section() for family in self._families)
        shown = (section for section in sections if section is not None)
        return (*shown, *self.custom.sections())

    def enabled(self, page: Page) -> Page:
        """Of a page, the sections that are to be shown."""
        return tuple(
            section
            for section in page
            if section.name in self._enabled
            or (self._enabled and section.name.startswith(PREFIX))
        )

    def render(self) -> bytes:
        """The page as Prometheus reads it."""
        return render(self.page())

    # Models

    def model(self, name: str, version: str) -> ModelMeter | None:
        """What counts for one version, None if nobody wants to know. Its request
        counters are shown from now on (OVMS): Prometheus's rate() misses the first
        event of a counter that appears with it.
        """
        if not self._enabled:
            return None
        for interface in _INTERFACES:
            for family in (self._success, self._fail):
                family[_API, interface, "ModelMetadata", name, version].inc(0)
                family[_API, interface, "ModelReady", name, ""].inc(0)
        return ModelMeter(
            {i: self._success[_API, i, _INFER, name, version] for i in _INTERFACES},
            {i: self._fail[_API, i, _INFER, name, version] for i in _INTERFACES},
            {i: self._request_time[i, name, version] for i in _INTERFACES},
            {i: self._cancelled[i, _INFER, name] for i in _INTERFACES},
            inference_time=self._inference_time[name, version],
            wait_time=self._wait_time[name, version],
        )

    def model_request(
        self, name: str, version: str, interface: str, method: str, *, ok: bool
    ) -> None:
        """A request was answered, well or with an error."""
        family = self._success if ok else self._fail
        family[_API, interface, method, name, version].inc()

    def model_has(
        self,
        name: str,
        version: str,
        *,
        streams: int,
        slots: int,
        busy: Callable[[], int],
        requests: Callable[[], int],
        settle: Callable[[], object] | None = None,
    ) -> None:
        """OpenVINO runs the version with so many execution streams and infer requests;
        how many of the latter are `busy`, and how many `requests` are in process, is
        asked whenever the page is made. Before that comes `settle`, for who has put off
        to count.
        """
        if settle is not None:
            self._settle[name, version] = settle
        self._streams[name, version].set(streams)
        self._queue_size[name, version].set(slots)
        self._active[name, version].follow(busy)
        self._current_requests[name, version].follow(requests)

    def batch_sizes(self, name: str, version: str) -> Histogram:
        """Of a version whose requests are joined: the rows of each batch."""
        return self._batch_size[name, version]

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

    def graph(self, name: str, interface: str, method: str) -> GraphMeter:
        """What counts for the messages of one stream."""
        labels = _API, interface, method, name
        return GraphMeter(
            partial(self._accepted.__getitem__, labels),
            partial(self._responses.__getitem__, labels),
            partial(self._graph_latency.__getitem__, (method, name))
            if self.measures_latency
            else None,
        )

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
        self._graph_time[method, name].observe(seconds * MICROSECONDS)

    def graph_request_latency(self, name: str, method: str, seconds: float) -> None:
        """A packet came out this long after its request had arrived."""
        self._graph_latency[method, name].observe(seconds * MICROSECONDS)

    def graph_cancelled(self, name: str, interface: str, method: str) -> None:
        """Nobody waits for the answer of a unary request any more."""
        self._cancelled[interface, method, name].inc()

    def graph_nodes(self, name: str, nodes: Iterable[str]) -> NodeMeters | None:
        """What counts for the nodes of a graph that is loaded with these, the same for
        all loads of that name; None if nobody wants to know.
        """
        wanted = {families.NODE_TIME.name, families.NODE_QUEUE.name}
        if not wanted & self._enabled:
            return None
        meters = self._nodes.get(name)
        if meters is None:
            times = (
                self._node_time if families.NODE_TIME.name in self._enabled else None
            )
            meters = self._nodes[name] = NodeMeters(name, times, self._node_queue)
            self._settle[name, ""] = meters.settle
        meters.loaded(nodes)
        return meters

    # Streams

    def streams(self, name: str) -> StreamMeter:
        """What counts for the streams of a servable, shown from now on."""
        return StreamMeter(
            self._open_streams[(name,)],
            self._first_response[(name,)],
            self._cancelled[(*_STREAM, name)],
            self._dropped[(name,)],
        )

    # The process

    def process_has(
        self,
        memory: Callable[[], int],
        failures: Callable[[], Mapping[tuple[str, str], int]],
        limits: Mapping[str, int],
    ) -> None:
        """So many bytes, and so many failures from now on, by interface and code, which
        both are asked whenever the page is made; and limits, by their flags.
        """
        self._memory[()].follow(memory)
        for flag, limit in limits.items():
            self._limit[(flag,)].set(limit)
        before = failures()

        def settle() -> None:
            for labels, count in failures().items():
                self._failures[labels].set(count - before.get(labels, 0))

        self._settle["", ""] = settle

    # Reload

    def reloaded(self, *, ok: bool) -> None:
        """What is mounted had changed, and is served as it is now, or not all of it."""
        self._reloads[("success" if ok else "failure",)].inc()

    def outdated(
        self, kind: str, name: str, version: str, *, is_outdated: bool
    ) -> None:
        """The newest files of something are not served, or are again."""
        self._outdated[kind, name, version].set(is_outdated)

    def _counters(self, family: Family) -> Values[Counter]:
        assert family.kind is Kind.COUNTER
        return Values(family, Counter, is_shown=family.name in self._enabled)

    def _gauges(self, family: Family) -> Values[Gauge]:
        assert family.kind is Kind.GAUGE
        return self._told(family)

    def _told(self, family: Family) -> Values[Gauge]:
        return Values(family, Gauge, is_shown=family.name in self._enabled)

    def _histograms(self, family: Family) -> Values[Histogram]:
        assert family.kind is Kind.HISTOGRAM
        make = partial(Histogram, family.buckets)
        return Values(family, make, is_shown=family.name in self._enabled)


def _enabled(names: Iterable[str] | None) -> frozenset[str]:
    known = (*FAMILIES, *OF_WORKERS)
    if names is None:
        return frozenset(family.name for family in known if family.is_default)
    enabled = frozenset(names)
    unknown = enabled - {family.name for family in known}
    if unknown:
        raise ServingError(Status.INVALID_METRICS_FAMILY_NAME, min(unknown))
    return enabled

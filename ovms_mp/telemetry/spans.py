"""Spans of OpenTelemetry: one for each request and stream as it is asked for, within it one
for its run of a graph, in that one for each call of a node, and in that one for each
inference. A model without a graph has its inferences in its run.

Who serves only notes what happened; a thread of its own makes spans of it, and one of
OpenTelemetry's brings them away. What these cannot keep up with is dropped.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ovms_mp.core.happenings import CLIENT, Happening, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

    from ovms_mp.core.happenings import Sink, Subject
    from ovms_mp.core.timestamp import Timestamp

log = logging.getLogger(__name__)

MAX_HAPPENINGS: Final = 50_000
"""That wait to become spans; of what is more the latest are kept."""
MAX_SPANS: Final = 16_384
"""That wait to be brought away, unless OTEL_BSP_MAX_QUEUE_SIZE says otherwise."""
INTERVAL: Final = 0.2
"""Seconds between two looks at what has happened."""
PATIENCE: Final = 2.0
"""Seconds for the last ones, at the end."""

_QUEUE: Final = "OTEL_BSP_MAX_QUEUE_SIZE"
# Codes after which nobody needs to look at a span.
_FINE: Final = frozenset({"OK", "CANCELLED", "101", "200", "201", "499"})


class Begun:
    """The span of one request."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def here(self) -> AbstractContextManager[object]:
        """Runs that are opened within the block are of this request."""
        return trace.use_span(self._span)

    def over(self, servable: str, code: str) -> None:
        """It is answered, or not. Once."""
        self._span.set_attribute("ovms_mp.servable", servable)
        self._span.set_attribute("ovms_mp.code", code)
        if code not in _FINE:
            self._span.set_status(Status(StatusCode.ERROR, code))
        self._span.end()


class _Closed(NamedTuple):
    run: int
    ended: int


class _Call(NamedTuple):
    begun: int
    ended: int
    timestamp: Timestamp


class _Run:
    """A run whose span is open."""

    def __init__(self, subject: Subject, span: Span) -> None:
        self.subject = subject
        self.span = span
        self.context = trace.set_span_in_context(span)
        self.begun: dict[tuple[int, Timestamp], int] = {}
        self.inferences: dict[tuple[int, Timestamp], list[Happening]] = defaultdict(
            list
        )


class Spans:
    """A Watcher. How many spans there are is what OTEL_... in the environment say, and
    `exporter` brings them away. Thread-safe; `close` ends its threads.
    """

    def __init__(self, version: str, exporter: SpanExporter) -> None:
        queue = None if _QUEUE in os.environ else MAX_SPANS
        named = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: "ovms_mp"}
        self._provider = TracerProvider(
            resource=Resource.create(named), shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=queue)
        )
        self._tracer = self._provider.get_tracer("ovms_mp", version)
        self._propagator = TraceContextTextMapPropagator()
        # On another clock than spans are.
        self._offset = time.time_ns() - time.perf_counter_ns()
        self._lock = threading.Lock()
        self._runs: dict[int, _Run] = {}
        self._news: deque[Happening | _Closed] = deque(maxlen=MAX_HAPPENINGS)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="spans", daemon=True)
        self._thread.start()

    def begin(self, interface: str, method: str, said: Mapping[str, str]) -> Begun:
        """A request has come; `said` are its headers or metadata, in lower case: its
        span belongs to the `traceparent` among them.
        """
        carried = {
            name: said[name] for name in ("traceparent", "tracestate") if name in said
        }
        span = self._tracer.start_span(
            f"{interface} {method}",
            context=self._propagator.extract(carried),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": interface, "rpc.method": method},
        )
        return Begun(span)

    @property
    def happened(self) -> Sink:
        """See Watcher."""
        return self._news.append

    def opened(self, subject: Subject) -> None:
        """See Watcher: in the thread of the request that opens it."""
        span = self._tracer.start_span(
            f"{subject.kind} {subject.shape.graph}",
            attributes={"ovms_mp.graph": subject.shape.graph},
        )
        if span.is_recording():
            with self._lock:
                self._runs[subject.run] = _Run(subject, span)

    def closed(self, run: int) -> None:
        """See Watcher."""
        self._news.append(_Closed(run, time.perf_counter_ns()))

    def close(self) -> None:
        """Bring away what there is, as far as that goes within a moment."""
        self._is_over.set()
        self._thread.join(PATIENCE)
        # One that cannot reach its collector would try for long.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(PATIENCE)
        if ending.is_alive():
            log.warning("the last spans could not be brought away")

    def _work(self) -> None:
        while not self._is_over.wait(INTERVAL):
            self._settle()
        self._settle()
        with self._lock:
            left, self._runs = tuple(self._runs.values()), {}
        for run in left:
            run.span.end()

    def _settle(self) -> None:
        with suppress(IndexError):
            while True:
                news = self._news.popleft()
                with self._lock:
                    run = self._runs.get(news.run)
                if run is None:
                    continue
                if isinstance(news, _Closed):
                    with self._lock:
                        del self._runs[news.run]
                    run.span.end(news.ended + self._offset)
                else:
                    self._add(run, news)

    def _add(self, run: _Run, happening: Happening) -> None:
        key = happening.node, happening.timestamp
        begun = happening.begun
        match happening.kind:
            case Kind.INFER if happening.node == CLIENT:  # of a model without a graph
                self._infer(happening, run.context)
            case Kind.INFER:
                run.inferences[key].append(happening)
            case Kind.PROCESS | Kind.RESUME:
                begun = run.begun.pop(key, begun)
                if happening.goes_on:
                    run.begun[key] = begun
                    return
                name = run.subject.shape.nodes[happening.node].name
                call = _Call(begun, happening.ended, happening.timestamp)
                context = self._span(name, run.context, call)
                for each in run.inferences.pop(key, ()):
                    self._infer(each, context)
            case Kind.ENTER | Kind.RESPOND:
                call = _Call(begun, happening.ended, happening.timestamp)
                self._span(happening.kind.value, run.context, call)
            case Kind.WAIT:
                pass

    def _infer(self, happening: Happening, context: Context) -> None:
        call = _Call(happening.begun, happening.ended, happening.timestamp)
        self._span(f"infer {happening.model}", context, call)

    def _span(self, name: str, context: Context, call: _Call) -> Context:
        span = self._tracer.start_span(
            name,
            context=context,
            attributes={"ovms_mp.timestamp": call.timestamp},
            start_time=call.begun + self._offset,
        )
        span.end(call.ended + self._offset)
        return trace.set_span_in_context(span)

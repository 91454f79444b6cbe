"""Who uses what, stream by stream, and who watches: from the moment that somebody begins
to, streams that are open already included, until he ends it. Nobody pays for it else.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from ovms_mp.core.happenings import (
    CLIENT,
    HERE,
    Happening,
    Kind,
    NodeSubject,
    Place,
    Shape,
    Subject,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from ovms_mp.core.happenings import Sink, Watcher
    from ovms_mp.core.pending import Pending
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.library.hosting import GraphDefinition

T = TypeVar("T")

STREAM: Final = "stream"
REQUEST: Final = "request"


class Progress(NamedTuple):
    """How far a stream is: requests that wait to get in, those that are on their way,
    and when the oldest of these came, on the clock of `time.perf_counter`.
    """

    waiting: int
    under_way: int
    oldest: float | None


class OpenStream(Protocol):
    """A stream that is open. Methods are called from any thread."""

    def progress(self) -> Progress:
        """How far it is."""
        ...

    def queues(self) -> Sequence[Mapping[str, int]]:
        """Packets that wait at the inputs of each node, by stream; none for a model."""
        ...

    def watched(self) -> None:
        """Somebody begins to watch, or ends it: see `Watching.sink`."""
        ...


class StreamState(NamedTuple):
    """An open stream, for people; times are in seconds. `lag` is the age of the oldest
    request that is on its way.
    """

    number: int
    servable: str
    age: float
    lag: float
    waiting: int
    under_way: int


class _Known(NamedTuple):
    subject: Subject
    stream: OpenStream
    since: float


class Watched(NamedTuple):
    """A request that is watched: by its number, who is told, and is told of its end."""

    number: int
    sink: Sink
    over: Callable[[int], None]

    def asks(self, ask: Callable[[], Pending[T]]) -> Pending[T]:
        """Have a model asked; the request is over with the answer. Raises what `ask`
        does.
        """
        boundary = Boundary(self.sink, self.number)
        try:
            answer = boundary.asks(0, time.perf_counter(), ask)
        except BaseException:
            self.over(self.number)
            raise
        answer.on_settled(lambda _: self.over(self.number))
        return answer


class Watching:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        self._numbers = count(1)
        self._streams: dict[int, _Known] = {}
        self._watchers: list[tuple[Watcher, str]] = []

    @contextmanager
    def by(self, watcher: Watcher, graph: str = "") -> Generator[None]:
        """Within the block, `watcher` hears of all runs, or of those of one graph."""
        self.add(watcher, graph)
        try:
            yield
        finally:
            self.remove(watcher)

    def add(self, watcher: Watcher, graph: str = "") -> None:
        """From now on, until `remove`."""
        with self._changing:
            with self._lock:
                self._watchers.append((watcher, graph))
                known = self._of(graph)
                for each in known:
                    watcher.opened(each.subject)
            for each in known:
                each.stream.watched()

    def remove(self, watcher: Watcher) -> None:
        """No more."""
        with self._changing:
            with self._lock:
                left = [each for each in self._watchers if each[0] is watcher]
                self._watchers = [e for e in self._watchers if e[0] is not watcher]
                known = [each for _, graph in left for each in self._of(graph)]
            for each in known:
                each.stream.watched()

    def _of(self, graph: str) -> list[_Known]:
        """The open streams of a graph, or all."""
        return [
            each
            for each in self._streams.values()
            if graph in {"", each.subject.shape.graph}
        ]

    def opened(self, shape: Shape, stream: OpenStream) -> int:
        """A stream begins: its number. Who watches it already is told at once, and the
        stream by the caller.
        """
        number = next(self._numbers)
        subject = Subject(number, shape, STREAM)
        with self._lock:
            self._streams[number] = _Known(subject, stream, time.perf_counter())
            self._tell(subject)
        return number

    def closed(self, number: int) -> None:
        """A stream, or a request that was watched, is over."""
        with self._lock:
            self._streams.pop(number, None)
            for watcher, _ in self._watchers:
                watcher.closed(number)

    def asked(self, shape: Shape) -> Watched | None:
        """A request begins; None if nobody wants to know."""
        if not self._watchers:
            return None
        subject = Subject(next(self._numbers), shape, REQUEST)
        with self._lock:
            self._tell(subject)
        sink = self.sink(shape.graph)
        return sink and Watched(subject.run, sink, self.closed)

    def _tell(self, subject: Subject) -> None:
        for watcher, graph in self._watchers:
            if graph in {"", subject.shape.graph}:
                watcher.opened(subject)

    def is_watched(self, graph: str) -> bool:
        """Whether anybody is."""
        return bool(self._watchers) and self.sink(graph) is not None

    def sink(self, graph: str) -> Sink | None:
        """Who is to be told what happens in runs of a graph."""
        sinks = [w.happened for w, wanted in self._watchers if wanted in {"", graph}]
        if len(sinks) < 2:
            return sinks[0] if sinks else None

        def tell(happening: Happening) -> None:
            for sink in sinks:
                sink(happening)

        return tell

    def streams(self, most: int) -> tuple[int, Sequence[StreamState]]:
        """How many are open, and the oldest of them."""
        with self._lock:
            found = [*self._streams.items()]
        now = time.perf_counter()
        return len(found), [_state(n, known, now) for n, known in found[:most]]

    def of(self, shape: Shape, most: int) -> Sequence[OpenStream]:
        """The oldest open streams of a graph as it is now, not as it was before it was
        loaded anew.
        """
        with self._lock:
            known = [e for e in self._of(shape.graph) if e.subject.shape == shape]
            return [each.stream for each in known[:most]]


def _state(number: int, known: _Known, now: float) -> StreamState:
    waiting, under_way, oldest = known.stream.progress()
    lag = 0.0 if oldest is None else now - oldest
    name = known.subject.shape.graph
    age = max(now - known.since, lag)  # the first request came before its stream
    return StreamState(number, name, age, lag, waiting, under_way)


def shape_of(name: str, definition: GraphDefinition) -> Shape:
    """What there is to be seen of a graph."""
    streams = [each.name for each in definition.streams]
    nodes = [
        NodeSubject(
            node.info.name,
            tuple(streams[number] for number in node.input_streams),
            tuple(streams[number] for number in node.output_streams),
        )
        for node in definition.nodes
    ]
    return Shape(name, tuple(nodes), tuple(each.name for each, _ in definition.inputs))


class Boundary:
    """What a client and its graph, or model, do with each other, timed for `sink`."""

    def __init__(self, sink: Sink, run: int) -> None:
        self._sink = sink
        self._run = run

    def entered(self, timestamp: Timestamp, arrival: float, begun: int) -> None:
        """A request that came at `arrival` (perf_counter) is in the graph."""
        ended = time.perf_counter_ns()
        since = round(arrival * 1e9)
        self._sink(
            Happening(
                Kind.ENTER, self._run, CLIENT, timestamp, begun, ended, since=since
            )
        )

    def asks(self, timestamp: Timestamp, arrival: float, ask: Callable[[], T]) -> T:
        """Have a model asked, whose inference is told as that of this request, which
        came at `arrival` (perf_counter). Raises what `ask` does.
        """
        begun = time.perf_counter_ns()
        token = HERE.set(Place(self._sink, self._run, CLIENT, timestamp))
        try:
            asked = ask()
        finally:
            HERE.reset(token)
        self.entered(timestamp, arrival, begun)
        return asked

    def responds(self, timestamp: Timestamp, respond: Callable[[], object]) -> None:
        """Have a response made and sent."""
        begun = time.perf_counter_ns()
        respond()
        ended = time.perf_counter_ns()
        self._sink(Happening(Kind.RESPOND, self._run, CLIENT, timestamp, begun, ended))

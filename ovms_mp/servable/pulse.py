"""What a graph does while somebody looks: a Watcher that is asked now and then what has
happened since, and counts only then.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

from ovms_mp.core.happenings import CLIENT, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.core.happenings import Happening, Shape, Sink, Subject
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.servable.watching import OpenStream

MAX_HAPPENINGS: Final = 50_000
"""Between two looks; of what is more the latest counts."""

MAX_STREAMS: Final = 100
"""Whose queues are looked at: the oldest."""

_MILLISECONDS: Final = 1e-6  # of nanoseconds


class NodePulse(NamedTuple):
    """A node since the last look: calls per second, what one of them took of a thread
    and in all, in milliseconds, and how many packets wait now.
    """

    rate: float
    busy: float
    latency: float
    waiting: int


class GraphPulse(NamedTuple):
    """A graph since the last look. Rates are per second, of streams by name; `latency`
    is from the arrival of a request to its last answer, in milliseconds, None where
    nothing was answered.
    """

    nodes: Sequence[NodePulse]
    streams: Mapping[str, float]
    waiting: Mapping[str, int]
    requests: float
    answers: float
    latency: float | None


class Pulse:
    """Of one graph. `take` is for one thread at a time."""

    def __init__(self) -> None:
        self._happenings: deque[Happening] = deque(maxlen=MAX_HAPPENINGS)
        self._shapes: dict[int, Shape] = {}  # of runs
        self._closed: deque[int] = deque()
        self._leaving: Sequence[int] = ()  # closed before the last look
        self._latest: Shape | None = None
        self._entered: dict[tuple[int, Timestamp], int] = {}
        self._looked = perf_counter()

    @property
    def happened(self) -> Sink:
        """See Watcher."""
        return self._happenings.append

    def opened(self, subject: Subject) -> None:
        """See Watcher."""
        self._shapes[subject.run] = self._latest = subject.shape

    def closed(self, run: int) -> None:
        """See Watcher."""
        if run in self._shapes:
            self._closed.append(run)

    def take(self, shape: Shape, streams: Sequence[OpenStream]) -> GraphPulse | None:
        """What has happened since the last time in runs of this shape, and what waits in
        these streams now; None as long as nobody has used the graph as it is.
        """
        now = perf_counter()
        seconds, self._looked = max(now - self._looked, 1e-3), now
        runs, found = self._happened(shape)
        if self._latest != shape and not runs:
            return None
        calls: Counter[int] = Counter()
        busy: Counter[int] = Counter()
        spent: Counter[int] = Counter()
        packets: Counter[str] = Counter()
        latencies: dict[tuple[int, Timestamp], int] = {}
        for each in found:
            node, took = each.node, each.ended - each.begun
            match each.kind:
                case Kind.ENTER:
                    calls[CLIENT] += 1
                    packets.update(shape.inputs)
                    self._enter(each)
                case Kind.RESPOND:
                    packets[""] += 1
                    since = self._entered.get((each.run, each.timestamp))
                    if since is not None:
                        latencies[each.run, each.timestamp] = each.ended - since
                case Kind.WAIT:
                    spent[node] += took
                case Kind.PROCESS | Kind.RESUME:
                    calls[node] += each.kind is Kind.PROCESS
                    busy[node] += took
                    spent[node] += took
                    names = shape.nodes[node].outputs
                    packets.update(names[slot] for slot, _ in each.made)
                case Kind.INFER:
                    pass
        waiting, by_stream = _waiting(streams)
        answers = packets.pop("", 0)
        return GraphPulse(
            [
                NodePulse(
                    calls[number] / seconds,
                    _each(busy[number], calls[number]),
                    _each(spent[number], calls[number]),
                    waiting[number],
                )
                for number in range(len(shape.nodes))
            ],
            {name: count / seconds for name, count in packets.items()},
            by_stream,
            calls[CLIENT] / seconds,
            answers / seconds,
            _each(sum(latencies.values()), len(latencies)) if latencies else None,
        )

    def _happened(self, shape: Shape) -> tuple[set[int], Sequence[Happening]]:
        """Runs of this shape, and what happened in them."""
        happenings = self._happenings
        closed = [self._closed.popleft() for _ in range(len(self._closed))]
        found = [happenings.popleft() for _ in range(len(happenings))]
        runs = {run for run, its in tuple(self._shapes.items()) if its == shape}
        for run in self._leaving:
            self._shapes.pop(run, None)
        self._leaving = closed
        return runs, [each for each in found if each.run in runs]

    def _enter(self, happening: Happening) -> None:
        entered = self._entered
        entered[happening.run, happening.timestamp] = happening.since
        while len(entered) > MAX_HAPPENINGS:
            del entered[next(iter(entered))]


def _each(nanoseconds: int, count: int) -> float:
    return nanoseconds * _MILLISECONDS / count if count else 0.0


def _waiting(streams: Sequence[OpenStream]) -> tuple[Mapping[int, int], Counter[str]]:
    """Packets that wait, by node and by stream."""
    by_node: dict[int, int] = defaultdict(int)
    by_stream: Counter[str] = Counter()
    for stream in streams:
        for number, queues in enumerate(stream.queues()):
            by_node[number] += sum(queues.values())
            for name, count in queues.items():
                by_stream[name] = by_stream[name] + count
    return by_node, by_stream

"""What the nodes of a graph take and what waits for them, for who wants to know: a call is
timed by what is called instead of it, so that others pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ovms_mp.core.pending import Pending
from ovms_mp.telemetry.values import MICROSECONDS

if TYPE_CHECKING:
    from ovms_mp.telemetry.values import Gauge, Histogram, Values


class Call(Protocol):
    """A call of a node, as far as it says what it waits for."""

    pending: Pending[Any] | None


C = TypeVar("C", bound=Call)


class Status(Protocol):
    """What a node does."""

    @property
    def name(self) -> str:
        """The node's."""
        ...

    @property
    def queues(self) -> Mapping[str, int]:
        """Packets that wait, by stream."""
        ...


class Run(Protocol):
    """A run of a graph."""

    def status(self) -> Iterable[Status]:
        """What its nodes do. From any thread."""
        ...


class NodeMeters:
    """Of one graph, whatever it is reloaded as. Thread-safe."""

    def __init__(
        self, name: str, times: Values[Histogram] | None, queues: Values[Gauge]
    ) -> None:
        self._name = name
        self._times = times
        self._queues = queues
        self._nodes: set[str] = set()
        self._runs: set[Run] = set()

    def loaded(self, nodes: Iterable[str]) -> None:
        """The graph has these from now on."""
        self._nodes.update(nodes)

    def timed(self, node: str, process: Callable[[C], object]) -> Callable[[C], object]:
        """What to call instead of a node's `process`. The time of a call that waits is
        that until what it waits for is there.
        """
        if self._times is None:
            return process
        observe = self._times[self._name, node].observe

        def call(context: C) -> None:
            started = perf_counter()
            process(context)
            pending = context.pending
            if pending is None:
                observe((perf_counter() - started) * MICROSECONDS)
            else:
                pending.on_settled(
                    lambda _: observe((perf_counter() - started) * MICROSECONDS)
                )

        return call

    def opened(self, run: Run) -> None:
        """A run has begun."""
        self._runs.add(run)

    def closed(self, run: Run) -> None:
        """It is over."""
        self._runs.discard(run)

    def settle(self) -> None:
        """Count what waits now."""
        waiting = dict.fromkeys(self._nodes, 0)
        for run in tuple(self._runs):
            for node in run.status():
                waiting[node.name] += sum(node.queues.values())
        for node, count in waiting.items():
            self._queues[self._name, node].set(count)

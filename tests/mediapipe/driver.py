"""Runs the graph of a pbtxt in the test's thread and writes down what it tells."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ovms_mp.calculator import Services
from ovms_mp.core.errors import ServingError
from ovms_mp.core.packet import Packet
from ovms_mp.core.strand import inline
from ovms_mp.core.timestamp import next_allowed
from ovms_mp.graph import builder, config
from ovms_mp.graph.definition import GraphDefinition
from ovms_mp.graph.run import GraphRun
from tests.mediapipe import calculators


def define(text: str) -> GraphDefinition:
    """What every run of the graph shares."""
    parsed = config.parse(text.encode(), "graph.pbtxt")
    return builder.load(parsed, calculators.registry(), Path(), Services())


def does(**methods: Any) -> SimpleNamespace:
    """What the calculator `Does` does: open, process, close, each with its context."""
    return SimpleNamespace(**methods)


class Run:
    """One run. `observe` and `bounds` name the streams whose packets, or packets and
    bounds, are written down.
    """

    def __init__(
        self,
        graph: str | GraphDefinition,
        *,
        observe: str = "",
        bounds: str = "",
        **side_packets: Any,
    ) -> None:
        self.definition = define(graph) if isinstance(graph, str) else graph
        self._inputs = {name.name: number for name, number in self.definition.inputs}
        self._names = [name.name for name, *_ in self.definition.outputs]
        self.told: dict[str, list[tuple[int, Any]]] = {n: [] for n in self._names}
        self.bounds: dict[str, list[int]] = {}
        self.is_done = False
        self.error: Any = None
        self.has_room = True
        self.run = GraphRun(self.definition, self, inline)
        for name in observe.split():
            self._observe(name, bounds=False)
        for name in bounds.split():
            self._observe(name, bounds=True)
        self.run.post(lambda: self.run.start(side_packets))

    def _observe(self, name: str, *, bounds: bool) -> None:
        number = self.run.observe(name, bounds=bounds)
        while len(self._names) <= number:
            self._names.append("")
        self._names[number] = name
        self.told.setdefault(name, [])
        self.bounds.setdefault(name, [])

    def feed(self, stream: str, at: int, payload: Any = None) -> None:
        """A packet for a graph input."""
        number = self._inputs[stream]
        self.run.post(lambda: self.run.feed(number, Packet(at, payload)))

    def advance(self, stream: str, bound: int) -> None:
        """Nothing before `bound` follows on a graph input."""
        number = self._inputs[stream]
        self.run.post(lambda: self.run.advance(number, bound))

    def feed_empty(self, stream: str, at: int) -> None:
        """An empty packet for a graph input: nothing comes up to its timestamp."""
        self.advance(stream, next_allowed(at))

    def close(self, *streams: str) -> None:
        """Close these graph inputs; all of them when none is named."""
        for stream in streams:
            number = self._inputs[stream]
            self.run.post(lambda number=number: self.run.close_input(number))
        if not streams:
            self.run.post(self.run.close_inputs)

    def values(self, stream: str) -> list[Any]:
        """The payloads that came out."""
        return [payload for _, payload in self.told[stream]]

    def times(self, stream: str) -> list[int]:
        """The timestamps of what came out."""
        return [at for at, _ in self.told[stream]]

    def ended_well(self) -> bool:
        """True if all nodes are closed and nothing failed."""
        return self.is_done and self.error is None

    def packet(self, output: int, packet: Packet) -> None:
        """RunListener."""
        self.told[self._names[output]].append((packet.timestamp, packet.payload))

    def bound(self, output: int, timestamp: int) -> None:
        """RunListener."""
        self.bounds[self._names[output]].append(timestamp)

    def settled(self, *, has_room: bool) -> None:
        """RunListener."""
        self.has_room = has_room

    def finished(self, error: ServingError | None) -> None:
        """RunListener."""
        assert not self.is_done, "finished is told once"
        self.is_done, self.error = True, error


def failure(graph: str, **options: Any) -> str:
    """Why a run of a graph without inputs failed."""
    run = Run(graph, **options)
    assert run.is_done and run.error is not None
    return run.error.details

"""The same cases by our own runtime, told in the same words as `native_child` tells."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from ovms_mp.calculator.services import Services
from ovms_mp.core import timestamp as timestamps
from ovms_mp.core.errors import ServingError
from ovms_mp.core.packet import Packet
from ovms_mp.core.strand import inline
from ovms_mp.graph import builder, config
from ovms_mp.graph.registry import Registry
from ovms_mp.graph.run import GraphRun

_NAMED = {
    name: getattr(timestamps, name)
    for name in ("PRESTREAM", "POSTSTREAM", "MAX", "MIN")
}


@cache
def registry() -> Registry:
    """Every calculator that is installed."""
    return Registry.installed()


class Run:
    """One graph, and what it has told since the last step; a RunListener."""

    def __init__(self, case: dict[str, Any]) -> None:
        parsed = config.parse(case["pbtxt"].encode(), "graph.pbtxt")
        definition = builder.load(parsed, registry(), Path(), Services())
        self._inputs = {name.name: number for name, number in definition.inputs}
        self._packets: dict[str, list[Any]] = {}
        self._bounds: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._is_over = False
        self._error: ServingError | None = None
        self._run = GraphRun(definition, self, inline)
        for name in case["observed"]:
            self._names[self._run.observe(name, bounds=case["bounds"])] = name
        side = {name: value for name, (_, value) in case["side"].items()}
        self._run.post(lambda: self._run.start(side))

    def packet(self, output: int, packet: Packet) -> None:
        if output in self._names:
            at, payload = packet
            value = list(payload) if isinstance(payload, list | tuple) else payload
            self._packets.setdefault(self._names[output], []).append([at, value])
            self._bounds[self._names[output]] = at

    def bound(self, output: int, timestamp: int) -> None:
        self._bounds[self._names[output]] = timestamp

    def settled(self, *, has_room: bool) -> None:
        pass

    def finished(self, error: ServingError | None) -> None:
        assert not self._is_over, "finished is told once"
        self._is_over, self._error = True, error

    def step(self, events: list[list[Any]]) -> dict[str, Any]:
        self._run.post(lambda: [self._apply(*event) for event in events])
        error = None if self._error is None else self._error.text
        told = {"packets": self._packets, "bounds": dict(self._bounds), "error": error}
        self._packets = {}
        return told

    def _apply(
        self, kind: str, stream: str = "", at: Any = 0, value: Any = None
    ) -> None:
        at = _NAMED.get(at, at)
        number = self._inputs.get(stream, -1)
        if kind == "packet":
            self._run.feed(number, Packet(at, value))
        elif kind == "empty":
            self._run.advance(number, timestamps.next_allowed(at))
        elif kind == "close":
            self._run.close_input(number)
        elif kind == "close_all":
            self._run.stop_sources()
            self._run.close_inputs()

    @property
    def is_over(self) -> bool:
        return self._is_over


def outcome(case: dict[str, Any]) -> dict[str, Any]:
    """What our runtime does with a case."""
    try:
        run = Run(case)
    except ServingError as problem:
        return {"refused": problem.text, "steps": []}
    steps: list[dict[str, Any]] = []
    for events in [[], *case["steps"], [["close_all"], ["done"]]]:
        steps.append(run.step(events))
        if steps[-1]["error"] is not None:
            break
    else:
        assert run.is_over, "a run ends when its inputs are closed"
    return {"refused": None, "steps": steps}

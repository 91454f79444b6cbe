"""A graph with native nodes, run in this process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovms_mp.calculator.services import Services
from ovms_mp.core.errors import ServingError
from ovms_mp.core.packet import Packet
from ovms_mp.core.strand import inline
from ovms_mp.graph import builder, config, islands
from ovms_mp.graph.config import GraphConfig
from ovms_mp.graph.definition import GraphDefinition
from ovms_mp.graph.registry import Registry
from ovms_mp.graph.run import GraphRun
from ovms_mp.graph.subgraphs import Folders
from ovms_mp.native import offer

ENDS_WITHIN = 40.0


def formed(text: str, registry: Registry | None = None) -> GraphConfig:
    registry = registry or Registry.installed()
    options = islands.options_of(registry, offer, Folders())
    parsed = config.parse(text.encode(), "graph.pbtxt", options=options)
    return islands.form_islands(parsed, registry, offer)


def load(text: str) -> GraphDefinition:
    registry = Registry.installed()
    return builder.load(formed(text, registry), registry, Path(), Services())


class Run:
    """One run, fed by name."""

    def __init__(
        self, definition: GraphDefinition, sides: Mapping[str, Any] | None = None
    ) -> None:
        self._inputs = {name.name: number for name, number in definition.inputs}
        self._names = [name.name for name, _ in definition.outputs]
        self.outputs: dict[str, list[Packet]] = {name: [] for name in self._names}
        self.error: ServingError | None = None
        self._ended = threading.Event()
        self.run = GraphRun(definition, self, inline)
        self.run.post(lambda: self.run.start(sides or {}))

    def feed(self, stream: str, payload: Any, at: int) -> None:
        number = self._inputs[stream]
        self.run.post(lambda: self.run.feed(number, Packet(at, payload)))

    def close(self) -> None:
        self.run.post(self.run.close_inputs)
        self.join()

    def join(self) -> None:
        assert self._ended.wait(ENDS_WITHIN), "the run does not end"

    def packet(self, output: int, packet: Packet) -> None:
        self.outputs[self._names[output]].append(packet)

    def settled(self, *, has_room: bool) -> None: ...

    def finished(self, error: ServingError | None) -> None:
        self.error = error
        self._ended.set()

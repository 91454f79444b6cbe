"""One calculator in a graph of its own: packets in, packets out. For tests of plug-ins,
and public on purpose.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovms_mp.calculator.services import Services
from ovms_mp.core.errors import ServingError
from ovms_mp.core.packet import Packet
from ovms_mp.graph import builder, config
from ovms_mp.graph.registry import Registry
from ovms_mp.graph.run import GraphRun
from ovms_mp.graph.strand import inline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator.base import Calculator
    from ovms_mp.core.timestamp import Timestamp


class CalculatorRunner:
    """Runs `node { … }` of a pbtxt with a calculator class, in the caller's thread.

    Streams are named as in the node. `outputs` holds what came out of each output
    stream so far, `error` why the run failed. Raises ServingError at once when the node
    does not fit its calculator.

        runner = CalculatorRunner(Scale, 'calculator: "Scale" input_stream: "in" …')
        runner.feed("in", 2.0, at=0)
        assert runner.outputs["out"] == [Packet(0, 4.0)]
    """

    def __init__(
        self,
        calculator: type[Calculator],
        node: str,
        *,
        side_packets: Mapping[str, Any] | None = None,
        services: Services | None = None,
        base_path: Path | None = None,
    ) -> None:
        one = config.parse(f"node {{ {node} }}".encode(), "node").nodes[0]
        # The node's streams are the graph's: wrap it.
        graph = config.GraphConfig(
            file="node",
            inputs=one.inputs,
            outputs=one.outputs,
            side_inputs=tuple(
                each for each in one.side_inputs if each.name in (side_packets or {})
            ),
            side_outputs=(),
            nodes=(one,),
            max_queue_size=-1,
            report_deadlock=False,
        )
        registry = Registry()
        registry.add(one.calculator, calculator, "the test")
        self._definition = builder.load(
            graph, registry, base_path or Path(), services or Services()
        )
        self._inputs = {name.name: number for name, number in self._definition.inputs}
        self._names = [name.name for name, _ in self._definition.outputs]
        self.outputs: dict[str, list[Packet]] = {name: [] for name in self._names}
        self.error: ServingError | None = None
        self.is_done = False
        self._run = GraphRun(self._definition, self, inline)
        self._run.post(lambda: self._run.start(side_packets or {}))

    def feed(self, stream: str, payload: Any, at: Timestamp) -> None:
        """A packet on an input stream."""
        number = self._inputs[stream]
        self._run.post(lambda: self._run.feed(number, Packet(at, payload)))

    def feed_all(self, stream: str, packets: Sequence[tuple[Timestamp, Any]]) -> None:
        """Packets on an input stream, in order."""
        for at, payload in packets:
            self.feed(stream, payload, at)

    def close(self) -> None:
        """No more input; the node is closed when it has nothing left to do."""
        self._run.post(self._run.close_inputs)

    def unload(self) -> None:
        """Release what the class has loaded for the node."""
        self._definition.unload()

    def packet(self, output: int, packet: Packet) -> None:
        """RunListener."""
        self.outputs[self._names[output]].append(packet)

    def settled(self, *, has_room: bool) -> None:
        """RunListener."""

    def finished(self, error: ServingError | None) -> None:
        """RunListener."""
        self.error = error
        self.is_done = True

"""A graph that has been judged against its calculators: what every run of it shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ovms_mp.calculator.base import Calculator, NodeInfo
    from ovms_mp.graph.config import StreamName

PROVIDED_SIDE_PACKETS: Final = frozenset({"py"})
"""Side packets that the server gives to every run, as OVMS does: `py` stands for what
Python nodes loaded, which here is each node's `shared`."""


@dataclass(slots=True)
class StreamDefinition:
    """A stream: who consumes it, as (node, slot), and which graph outputs show it."""

    name: str
    payload: Any
    consumers: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    outputs: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class NodeDefinition:
    """A node ready to be instantiated. Streams are numbers into the graph's `streams`;
    `attributes` is what every instance carries.
    """

    index: int
    line: int
    info: NodeInfo
    calculator: type[Calculator]
    attributes: dict[str, Any]
    input_streams: tuple[int, ...]
    output_streams: tuple[int, ...]
    side_inputs: tuple[str, ...]
    side_outputs: tuple[str, ...]
    input_policy: str
    max_in_flight: int
    timestamp_offset: int | None

    def instantiate(self) -> Calculator:
        """A calculator for one run, its ports bound."""
        calculator = self.calculator()
        calculator.__dict__.update(self.attributes)
        return calculator

    def unload(self) -> None:
        """Release what runs have shared."""
        self.calculator.unload(self.attributes["shared"])


@dataclass(frozen=True, slots=True)
class GraphDefinition:
    """Immutable and shared by runs in any thread. Nodes are in the order in which they
    are opened; `inputs` and `outputs` pair each stream with its number in `streams`.
    """

    nodes: tuple[NodeDefinition, ...]
    inputs: tuple[tuple[StreamName, int], ...]
    outputs: tuple[tuple[StreamName, int], ...]
    side_inputs: tuple[str, ...]
    streams: tuple[StreamDefinition, ...]
    max_queue_size: int
    report_deadlock: bool

    def unload(self) -> None:
        """Release what the nodes share, in reverse order; after the last run."""
        for node in reversed(self.nodes):
            node.unload()

"""A graph that has been judged against its calculators: what every run of it shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ovms_mp.calculator.base import ContractError
from ovms_mp.core.errors import ServingError, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.calculator.base import Calculator, NodeInfo
    from ovms_mp.graph.config import NodeConfig, StreamName
    from ovms_mp.graph.lane_source import Way
    from ovms_mp.graph.policies import MakePolicy

PROVIDED_SIDE_PACKETS: Final = frozenset({"py"})
"""Side packets that the server gives to every run, as OVMS does: `py` stands for what
Python nodes loaded, which here is each node's `shared`."""


@dataclass(slots=True)
class StreamDefinition:
    """A stream, what its producer says it carries, and what its consumers take."""

    name: str
    payload: Any
    expected: list[Any] = field(default_factory=list[Any])


@dataclass(slots=True)
class NodeDefinition:
    """A node ready to be instantiated. Streams are numbers into the graph's `streams`;
    `attributes` is what every instance carries.
    """

    index: int
    config: NodeConfig
    info: NodeInfo
    calculator: type[Calculator]
    attributes: dict[str, Any]
    input_streams: tuple[int, ...]
    output_streams: tuple[int, ...]
    side_inputs: tuple[tuple[str, bool], ...]
    """(name, is optional)."""
    side_outputs: tuple[str, ...]
    side_output_payloads: tuple[Any, ...]
    make_policy: MakePolicy
    max_in_flight: int
    source_layer: int
    producers: tuple[int, ...]
    """Nodes that are opened before this one: those of its inputs, but for back edges."""
    sources: tuple[tuple[int, ...], ...]
    """For each input what fills it in the end, for Throttle: graph inputs by stream
    number, source nodes by -1 - index."""

    def instantiate(self) -> Calculator:
        """A calculator for one run, its ports bound."""
        calculator = self.calculator()
        calculator.__dict__.update(self.attributes)
        return calculator

    def load(self) -> None:
        """Make what runs share. Raises ServingError."""
        config = self.config
        try:
            self.attributes["shared"] = self.calculator.load(self.info)
        except ContractError as error:
            status = Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR
            message = f'node "{self.info.name}": {error}'
            raise config.error(status, config.line, message) from error
        except ServingError as error:
            raise config.error(error.status, config.line, error.details) from error

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
    side_inputs: Mapping[str, Any]
    """What a run must be given, and its type: no node makes it."""
    optional_side_inputs: Mapping[str, Any]
    """What a run may be given besides."""
    side_outputs: tuple[str, ...]
    streams: tuple[StreamDefinition, ...]
    max_queue_size: int
    report_deadlock: bool
    way: Way | None = None
    """How a packet goes straight through, where it can: see `lane`."""

    @property
    def is_straight(self) -> bool:
        """True if nodes can be called in but one order."""
        return self.way is not None

    @property
    def is_short(self) -> bool:
        """True if each calculator says of itself that it is."""
        return all(vars(node.calculator).get("is_short") for node in self.nodes)

    def stream_number(self, name: str) -> int:
        """The number of a stream. Raises KeyError."""
        for number, stream in enumerate(self.streams):
            if stream.name == name:
                return number
        raise KeyError(name)

    def unload(self) -> None:
        """Release what the nodes share, in reverse order; after the last run."""
        for node in reversed(self.nodes):
            node.unload()

"""One node's part of a run: its calculator, its queues, its calls in flight."""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ovms_mp.calculator.context import EMPTY, Context
from ovms_mp.core.timestamp import DONE, MAX, MIN, UNSTARTED
from ovms_mp.graph.payload import fits, mismatch
from ovms_mp.graph.policy import BatchedPolicy, OneInputPolicy
from ovms_mp.graph.stream import bound_after_special

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ovms_mp.calculator.base import Calculator
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.definition import NodeDefinition
    from ovms_mp.graph.policy import InputPolicy
    from ovms_mp.graph.stream import InputStream, Stream

Process: TypeAlias = "Callable[[Context], object]"
Timed: TypeAlias = "Callable[[str, Process], Process]"
"""Has the `process` of a node of that name; what is called instead."""


class NodeState(Enum):
    """Where a node is in its life."""

    __hash__ = object.__hash__  # Enum's is a call in Python

    CREATED = auto()
    OPENED = auto()
    CLOSING = auto()
    CLOSED = auto()


class NodeEvent(Enum):
    """What happens to a node."""

    __hash__ = object.__hash__

    OPEN = auto()
    END = auto()
    CLOSE = auto()


TRANSITIONS: Final[Mapping[tuple[NodeState, NodeEvent], NodeState]] = {
    (NodeState.CREATED, NodeEvent.OPEN): NodeState.OPENED,
    # Inputs done, or the source stopped: close is called next.
    (NodeState.OPENED, NodeEvent.END): NodeState.CLOSING,
    (NodeState.CLOSING, NodeEvent.CLOSE): NodeState.CLOSED,
    # A run that ends closes nodes wherever they are; one never opened is not closed.
    (NodeState.OPENED, NodeEvent.CLOSE): NodeState.CLOSED,
    (NodeState.CREATED, NodeEvent.CLOSE): NodeState.CLOSED,
}


class NodeRun:
    """A Host for the contexts of its calls; the scheduler moves it through its life."""

    __slots__ = (
        "batched",
        "calculator",
        "carried",
        "context",
        "definition",
        "in_flight",
        "inputs",
        "invocations",
        "is_active",
        "is_busy",
        "is_dirty",
        "is_patient",
        "is_serial",
        "offset",
        "outputs",
        "policy",
        "process",
        "queued",
        "rank",
        "seen",
        "set_side_packets",
        "side_inputs",
        "single",
        "state",
    )

    def __init__(
        self,
        definition: NodeDefinition,
        rank: int,
        inputs: list[InputStream],
        outputs: list[Stream],
    ) -> None:
        self.definition = definition
        self.calculator: Calculator = definition.instantiate()
        self.process: Process = self.calculator.process
        self.rank = rank
        """Its place in the order of calls: nodes near the outputs have small ones."""
        self.inputs = inputs
        for queue in inputs:
            queue.node = self
        self.outputs = outputs
        self.policy: InputPolicy = definition.make_policy(inputs)
        self.batched = self.policy if isinstance(self.policy, BatchedPolicy) else None
        self.offset = self.calculator.timestamp_offset
        self.carried: Timestamp = UNSTARTED
        """The bound of the inputs that the outputs know of, by the offset."""
        self.seen: Timestamp = UNSTARTED
        """The latest bound of the inputs, of a node with several calls in flight."""
        self.is_serial = definition.max_in_flight == 1
        self.context = Context(self, UNSTARTED, ())
        """Of all calls of a serial node: they follow each other."""
        self.queued: deque[Context] | None = None
        self.in_flight: deque[Context] | None = None
        self.single = inputs[0] if isinstance(self.policy, OneInputPolicy) else None
        """Its only input, after whose packet at `t` nothing is left to see if the bound
        is `t + 1`."""
        if not self.is_serial:
            self.queued, self.in_flight = deque(), deque()
        self.is_busy = False
        """A serial node has a call in flight, or a source must wait for its turn."""
        self.is_dirty = False
        self.is_patient = False
        """See Host."""
        self.is_active = False
        """Opened and not ending: calls of process may be made."""
        self.state = NodeState.CREATED
        self.side_inputs: Sequence[Any] = ()
        self.set_side_packets: dict[str, Any] = {}
        self.invocations = 0
        """Calls of process so far."""

    def on(self, event: NodeEvent) -> None:
        """Change state by the table; a pair that is not in it is a bug."""
        self.state = TRANSITIONS[self.state, event]
        self.is_active = self.state is NodeState.OPENED

    def call(self, timestamp: Timestamp, inputs: Sequence[Any]) -> Context:
        """A context for a call: the one there is, or a new one."""
        if not self.is_serial:
            return Context(self, timestamp, inputs)
        context = self.context
        context.timestamp = timestamp
        context.inputs = inputs
        return context

    def out_of_turn(self, timestamp: Timestamp) -> Context:
        """A context for open, or for a close while other calls may be in flight."""
        return Context(self, timestamp, [EMPTY] * len(self.inputs))

    def carry(self, offset: int, timestamp: Timestamp) -> Timestamp:
        """The inputs are processed up to `timestamp`: the bound of the outputs."""
        if MIN <= timestamp < MAX:
            self.carried = bound = timestamp + 1
            return min(max(bound + offset, MIN), MAX) if offset else bound
        return bound_after_special(timestamp, offset)

    def is_idle(self) -> bool:
        """True if no call is in flight."""
        return not (self.is_busy or self.in_flight)

    @property
    def label(self) -> str:
        """What people call it."""
        return self.definition.info.name

    def input_bound(self, slot: int) -> Timestamp:
        """See Host."""
        return self.inputs[slot].head_or_bound()

    def next_bound(self, slot: int) -> Timestamp:
        """See Host."""
        return self.outputs[slot].bound

    def set_side(self, slot: int, value: Any) -> None:
        """See Host."""
        name = self.definition.side_outputs[slot]
        if name in self.set_side_packets:
            msg = "is already set"
            raise ValueError(msg)
        expected = self.definition.side_output_payloads[slot]
        if not fits(expected, value):
            msg = f"failed validation: {mismatch(expected, value)}"
            raise ValueError(msg)
        self.set_side_packets[name] = value

    def end(self) -> None:
        """Take no more: what waits is dropped, what comes will be."""
        for queue in self.inputs:
            queue.is_closed = True
            queue.bound = DONE
            queue.packets.clear()

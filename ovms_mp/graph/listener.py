"""What a run tells, and to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.core.errors import ServingError
    from ovms_mp.core.packet import Packet
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.node import NodeRun


class RunListener(Protocol):
    """What a run tells, on its strand; the calls must neither block nor raise."""

    def packet(self, output: int, packet: Packet) -> None:
        """A packet on the `output`-th output stream of the graph."""
        ...

    def settled(self, *, has_room: bool) -> None:
        """The run has done what it can with what was posted so far; `has_room` says
        whether its inputs can take more now.
        """
        ...

    def finished(self, error: ServingError | None) -> None:
        """All nodes are closed: because they were done, or for this error. Once, and
        the last call.
        """
        ...


class BoundListener(RunListener, Protocol):
    """A listener that observes streams with their bounds."""

    def bound(self, output: int, timestamp: Timestamp) -> None:
        """No packet at or before `timestamp` will come on the output any more."""
        ...


class NodeStatus(NamedTuple):
    """What a node does, for people."""

    name: str
    state: str
    invocations: int
    queues: Mapping[str, int]
    """Packets that wait, by stream."""
    waits_for: tuple[str, ...]
    """Streams without a packet, the node being idle while others wait."""


def status_of(node: NodeRun) -> NodeStatus:
    """What a node does now."""
    queues = {queue.name: len(queue.packets) for queue in node.inputs}
    is_blocked = node.is_idle() and any(queues.values())
    return NodeStatus(
        node.definition.info.name,
        node.state.name,
        node.invocations,
        queues,
        tuple(name for name, size in queues.items() if is_blocked and not size),
    )

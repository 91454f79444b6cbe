"""What happens in a run of a graph, for who wants to know. As long as nobody does, nothing
of this is made, and no clock is read.

Times are of `time.perf_counter_ns`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from ovms_mp.core.timestamp import Timestamp

CLIENT: Final = -1
"""As a node's number: what happens between a client and its graph."""


class Kind(Enum):
    """What it is that takes time."""

    ENTER = "enter"
    """A request becomes packets, and these go into the graph."""
    PROCESS = "process"
    """A call of a node."""
    WAIT = "wait"
    """That call waits for something, an inference above all."""
    RESUME = "resume"
    """And goes on with it."""
    INFER = "infer"
    """What a model does for a call."""
    RESPOND = "respond"
    """Packets become a response, and this is on its way."""


class Happening(NamedTuple):
    """Something that took time: of the run and the node with these numbers, for the
    packets of this timestamp.

    `taken` are the inputs of a call that had a packet, by number, `made` the packets it
    sent, by the number of the output. `since` is when what happens was asked for: an
    ENTER when its request came, an INFER when it began to wait for its turn at `model`.
    A call that `goes_on` waits, and has a WAIT and a RESUME.
    """

    kind: Kind
    run: int
    node: int
    timestamp: Timestamp
    begun: int
    ended: int
    taken: tuple[int, ...] = ()
    made: tuple[tuple[int, Timestamp], ...] = ()
    since: int = 0
    model: str = ""
    goes_on: bool = False


Sink: TypeAlias = Callable[[Happening], object]
"""Is told, in whichever thread it happens; must be short and must not raise."""


class NodeSubject(NamedTuple):
    """A node, and its streams by the numbers of its inputs and outputs."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Shape(NamedTuple):
    """A graph by its name, nodes by their numbers, and its own inputs."""

    graph: str
    nodes: tuple[NodeSubject, ...]
    inputs: tuple[str, ...]


class Subject(NamedTuple):
    """A run that is watched: `kind` is "stream" or "request"."""

    run: int
    shape: Shape
    kind: str


class Watcher(Protocol):
    """Who wants to know. Thread-safe; methods are short and do not raise."""

    @property
    def happened(self) -> Sink:
        """Is told what happens in runs that were opened, and for a moment after they
        were closed.
        """
        ...

    def opened(self, subject: Subject) -> None:
        """There is this run."""
        ...

    def closed(self, run: int) -> None:
        """It is over."""
        ...


class Place(NamedTuple):
    """Where a thread is: in a call of a node of a run that is watched."""

    sink: Sink
    run: int
    node: int
    timestamp: Timestamp


HERE: Final[ContextVar[Place | None]] = ContextVar("HERE", default=None)
"""The call that this thread is in, if that is watched."""

"""A node's calls are timed by what is called instead of them, put there when somebody
begins to watch and taken away when nobody does any more.
"""

from __future__ import annotations

from time import perf_counter_ns as now
from typing import TYPE_CHECKING, Final

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.happenings import HERE, Happening, Kind, Place
from ovms_mp.core.tuples import make

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator.context import Context
    from ovms_mp.core.happenings import Sink
    from ovms_mp.graph.node import NodeRun, Process

# To ask an Enum for its member takes as long as to make a tuple.
_PROCESS: Final = Kind.PROCESS


def watch(nodes: Iterable[NodeRun], sink: Sink | None, run: int) -> None:
    """Have `sink` told of the calls that follow, as those of this run; or nobody."""
    for node in nodes:
        known = getattr(node.process, "__self__", None)
        if isinstance(known, _Watched):
            node.process = known.process
        if sink is not None:
            node.process = _Watched(node.process, node.definition.index, sink, run).call


class _Watched:
    """A `process`, and the time that it takes."""

    __slots__ = ("_node", "_run", "_sink", "process")

    def __init__(self, process: Process, node: int, sink: Sink, run: int) -> None:
        self.process = process
        self._node = node
        self._sink = sink
        self._run = run

    def call(self, context: Context) -> None:
        """Instead of `process`."""
        sink, run, node, at = self._sink, self._run, self._node, context.timestamp
        inputs = context.inputs
        taken = tuple([slot for slot, value in enumerate(inputs) if value is not EMPTY])
        token = HERE.set(make(Place, (sink, run, node, at)))
        begun = now()
        try:
            self.process(context)
        finally:
            ended = now()
            HERE.reset(token)
            told = (_PROCESS, run, node, at, begun, ended, taken, *_left(context))
            sink(make(Happening, told))
        if context.pending is not None:
            self._follow(context, ended)

    def _follow(self, context: Context, since: int) -> None:
        """The call waits: time that, and what it goes on with."""
        pending, then = context.pending, context.continuation
        assert pending is not None
        assert then is not None
        settled: list[int] = []
        pending.on_settled(lambda _: settled.append(now()))

        def go_on(value: object) -> None:
            # Who settles it may not have come to telling us.
            until = settled[0] if settled else now()
            sink, run, node, at = self._sink, self._run, self._node, context.timestamp
            sink(Happening(Kind.WAIT, run, node, at, since, until))
            token = HERE.set(make(Place, (sink, run, node, at)))
            begun = now()
            try:
                then(value)
            finally:
                ended = now()
                HERE.reset(token)
                told = (Kind.RESUME, run, node, at, begun, ended, (), *_left(context))
                sink(make(Happening, told))
            if context.pending is not None:
                self._follow(context, ended)

        context.continuation = go_on


def _left(context: Context) -> tuple[tuple[tuple[int, int], ...], int, str, bool]:
    """What a Happening says from `made` on: the packets that leave now, and whether the
    call goes on.
    """
    goes_on = context.pending is not None
    if goes_on and not context.is_partial:
        return (), 0, "", True
    sent = context.emissions
    made = tuple([(slot, at) for slot, at, value in sent if value is not EMPTY])
    return made, 0, "", goes_on

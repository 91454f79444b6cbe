"""A node's calls are timed by what is called instead of them, put there when somebody
begins to watch and taken away when nobody does any more.
"""

from __future__ import annotations

from time import perf_counter_ns as now
from typing import TYPE_CHECKING

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.happenings import HERE, Happening, Kind, Place
from ovms_mp.core.tuples import make

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator.context import Context
    from ovms_mp.core.happenings import Sink
    from ovms_mp.graph.node import NodeRun, Process


def watch(nodes: Iterable[NodeRun], sink: Sink | None, run: int) -> None:
    """Have `sink` told of the calls that follow, as those of this run; or nobody."""
    for node in nodes:
        if isinstance(node.process, _Watched):
            node.process = node.process.process
        if sink is not None:
            node.process = _Watched(node.process, node.definition.index, sink, run)


class _Watched:
    """A `process`, and the time that it takes."""

    __slots__ = ("_node", "_run", "_sink", "process")

    def __init__(self, process: Process, node: int, sink: Sink, run: int) -> None:
        self.process = process
        self._node = node
        self._sink = sink
        self._run = run

    def __call__(self, context: Context) -> None:
        inputs = context.inputs
        taken = tuple([slot for slot, value in enumerate(inputs) if value is not EMPTY])
        token = HERE.set(self._place(context))
        begun = now()
        try:
            self.process(context)
        finally:
            ended = now()
            HERE.reset(token)
            self._tell(Kind.PROCESS, context, begun, ended, taken)
        if context.pending is not None:
            self._follow(context, ended)

    def _place(self, context: Context) -> Place:
        return make(Place, (self._sink, self._run, self._node, context.timestamp))

    def _tell(
        self,
        kind: Kind,
        context: Context,
        begun: int,
        ended: int,
        taken: tuple[int, ...] = (),
    ) -> None:
        """A call has returned, or raised."""
        run, node, at = self._run, self._node, context.timestamp
        goes_on = context.pending is not None
        made = () if goes_on and not context.is_partial else _leaving(context)
        told = (kind, run, node, at, begun, ended, taken, made, 0, "", goes_on)
        self._sink(make(Happening, told))

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
            at = context.timestamp
            self._sink(Happening(Kind.WAIT, self._run, self._node, at, since, until))
            token = HERE.set(self._place(context))
            begun = now()
            try:
                then(value)
            finally:
                ended = now()
                HERE.reset(token)
                self._tell(Kind.RESUME, context, begun, ended)
            if context.pending is not None:
                self._follow(context, ended)

        context.continuation = go_on


def _leaving(context: Context) -> tuple[tuple[int, int], ...]:
    """The packets that leave now."""
    return tuple(
        [(slot, at) for slot, at, value in context.emissions if value is not EMPTY]
    )

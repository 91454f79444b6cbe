"""A node's calls are timed by what is called instead of them, put there when somebody
begins to watch and taken away when nobody does any more.
"""

from __future__ import annotations

from time import perf_counter_ns as now
from typing import TYPE_CHECKING

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.happenings import HERE, Happening, Kind, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
        taken = tuple(
            slot for slot, value in enumerate(context.inputs) if value is not EMPTY
        )
        self._time(Kind.PROCESS, context, lambda: self.process(context), taken)

    def _time(
        self,
        kind: Kind,
        context: Context,
        call: Callable[[], object],
        taken: tuple[int, ...] = (),
    ) -> None:
        node, run, at = self._node, self._run, context.timestamp
        token = HERE.set(Place(self._sink, run, node, at))
        begun = now()
        try:
            call()
        finally:
            ended = now()
            HERE.reset(token)
            self._sink(
                Happening(
                    kind,
                    run,
                    node,
                    at,
                    begun,
                    ended,
                    taken,
                    _leaving(context),
                    goes_on=context.pending is not None,
                )
            )
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
            at = context.timestamp
            self._sink(Happening(Kind.WAIT, self._run, self._node, at, since, until))
            self._time(Kind.RESUME, context, lambda: then(value))

        context.continuation = go_on


def _leaving(context: Context) -> tuple[tuple[int, int], ...]:
    """The packets that leave now: those of a call that waits do when it is over, unless
    it has flushed them.
    """
    if context.pending is not None and not context.is_partial:
        return ()
    return tuple(
        (slot, at) for slot, at, value in context.emissions if value is not EMPTY
    )

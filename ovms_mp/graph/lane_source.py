"""The way of a packet through a straight graph, written out: a function of Python in which
nothing is looked up that is known when the graph is loaded.

Only numbers, and names of our own, are written; nothing of a pbtxt. What is written is
kept where tracebacks and debuggers look for sources.
"""

from __future__ import annotations

import linecache
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ovms_mp.calculator.context import EMPTY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MAX_STEPS: Final = 100
"""Nodes of a graph whose way is written out: what is written is compiled, too."""

_BODY: Final = " " * 8


class Step(NamedTuple):
    """A node, by the numbers of its streams."""

    takes: tuple[int, ...]
    makes: tuple[int, ...]
    is_serial: bool
    """One call at a time, and so one context for all of them."""
    sets_side_packets: bool


class Way(NamedTuple):
    """What has been written for one shape of graph; any number of runs may be bound to it."""

    source: str
    bind: Callable[..., Callable[[], bool]]
    """Has the lane of a run, its nodes and its streams. See `write`."""


@lru_cache(maxsize=256)
def way(source: int, steps: tuple[Step, ...]) -> Way:
    """That of the graphs whose input is the stream `source`, and whose nodes are these.
    The same for equals: there are few shapes of straight graphs.
    """
    text = write(source, steps)
    name = f"<lane of {len(steps)} nodes {hash((source, steps)) & 0xFFFFFFFF:08x}>"
    scope: dict[str, Any] = {"EMPTY": EMPTY}
    exec(compile(text, name, "exec"), scope)  # noqa: S102  # our own words alone: see above
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    return Way(text, scope["bind"])


def write(source: int, steps: Sequence[Step]) -> str:
    """The source of `bind`, which has the lane of a run, the nodes of the steps, and all
    streams by number; it makes `go`, which takes the lane's packet through.

    `go` returns True if all that follows from the packet has happened; else it has left
    the rest to the scheduler (see `Lane`).
    """
    return "\n".join(_lines(source, steps)) + "\n"


def _lines(source: int, steps: Sequence[Step]) -> Iterator[str]:
    streams = [source, *(number for step in steps for number in step.makes)]
    yield "def bind(lane, nodes, streams):"
    yield "    run, flow = lane.run, lane.flow"
    yield "    errors, pass_by, deliver = run.errors, flow.pass_by, run.delivery.at_once"
    for number in streams:
        yield f"    stream{number} = streams[{number}]"
        yield f"    taps{number} = stream{number}.taps"
    for number, step in enumerate(steps):
        yield f"    node{number} = nodes[{number}]"
        yield f"    process{number} = node{number}.process"
        if step.is_serial:
            yield f"    context{number} = node{number}.context"
        queues = [f"queue{number}_{slot}" for slot in range(len(step.takes))]
        yield f"    ({', '.join(queues)},) = node{number}.inputs"
    yield ""
    yield "    def go():"
    yield f"        timestamp, value{source} = lane.packet"
    yield "        lane.packet = lane.level = None"
    yield "        bound = timestamp + 1"
    yield from _indented(_moved(source, steps))
    yield f"        if taps{source}:"
    yield f"            flow.deliver(stream{source}, timestamp, value{source}, bound)"
    for number in range(len(steps)):
        yield ""
        yield from _indented(_step(number, source, steps))
    yield ""
    yield "        lane.level = bound"
    yield "        return True"
    yield ""
    yield "    return go"


def _indented(lines: Iterable[str], by: str = _BODY) -> Iterator[str]:
    return (by + line for line in lines)


def _moved(stream: int, steps: Sequence[Step]) -> Iterator[str]:
    """A packet goes on to consumers that take it at once."""
    queues = [
        f"queue{number}_{slot}"
        for number, step in enumerate(steps)
        for slot, taken in enumerate(step.takes)
        if taken == stream
    ]
    bounds = [f"{queue}.bound" for queue in queues]
    yield " = ".join([f"stream{stream}.bound", *bounds, "bound"])
    if queues:
        yield " = ".join([*(f"{queue}.was_fed" for queue in queues), "True"])


def _step(number: int, source: int, steps: Sequence[Step]) -> Iterator[str]:
    """A call, or none if nothing has come."""
    step = steps[number]
    yield f"# node {number}: {_listed(step.takes)} -> {_listed(step.makes)}"
    if source in step.takes:
        yield from _call(number, source, steps)
    else:
        nothing = " and ".join(f"value{taken} is EMPTY" for taken in step.takes)
        yield f"if {nothing}:"
        yield from _indented(_silence(number, step, step.makes), "    ")
        yield "else:"
        yield from _indented(_call(number, source, steps), "    ")
    yield "if errors or run.is_held:"
    yield f"    return lane.spill({number}, timestamp, {_live(number, source, steps)})"


def _silence(number: int, step: Step, streams: Iterable[int]) -> Iterator[str]:
    """Nothing goes on, and consumers know it at once."""
    for stream in streams:
        yield f"value{stream} = EMPTY"
        yield f"pass_by(stream{stream}, bound)"
    yield from _told(number, step)


def _told(number: int, step: Step) -> Iterator[str]:
    """What the call has brought about beside its packets, and before them."""
    side = f" or node{number}.set_side_packets" if step.sets_side_packets else ""
    yield f"if flow.produced{side}:"
    yield f"    run.called(node{number})"


def _call(number: int, source: int, steps: Sequence[Step]) -> Iterator[str]:
    step = steps[number]
    context = f"context{number}"
    inputs = ", ".join(f"value{taken}" for taken in step.takes)
    live = _live(number, source, steps, without=step.makes)
    if not step.is_serial:
        yield f"{context} = node{number}.context"
    yield f"{context}.timestamp = timestamp"
    yield f"{context}.inputs = [{inputs}]"
    yield "try:"
    yield f"    process{number}({context})"
    yield "except BaseException as error:  # user code may raise SystemExit as well"
    yield f"    return lane.fail({number}, error, {live})"
    yield f"node{number}.invocations += 1"
    yield f"sent = {context}.emissions"
    is_odd = f"{context}.pending is not None or {context}.is_stopped"
    leave = f"return lane.leave({number}, {live})"
    if len(step.makes) == 1 and not step.sets_side_packets:
        yield f"if {is_odd} or len(sent) > 1:"
        yield f"    {leave}"
        yield from _one_sent(number, step, steps, leave)
    else:
        yield f"if {is_odd} or not lane.are_plain(sent, timestamp, node{number}):"
        yield f"    {leave}"
        yield from _several_sent(number, step, steps)


def _one_sent(
    number: int, step: Step, steps: Sequence[Step], leave: str
) -> Iterator[str]:
    """At most one packet, which listeners have at once."""
    (made,) = step.makes
    yield "if sent:"
    yield f"    _, at, value{made} = sent[0]"
    yield f"    if at != timestamp or value{made} is EMPTY:"
    yield f"        {leave}"
    yield "    sent.clear()"
    yield f"    context{number}.inputs = ()"
    yield from _indented(_moved(made, steps), "    ")
    yield f"    if taps{made}:"
    yield f"        deliver(stream{made}, timestamp, value{made}, bound)"
    if number == 0:
        yield from _indented(["elif flow.produced:", "    run.called(node0)"], "    ")
    yield "else:"
    yield f"    context{number}.inputs = ()"
    yield from _indented(_silence(number, step, step.makes), "    ")


def _several_sent(number: int, step: Step, steps: Sequence[Step]) -> Iterator[str]:
    """At most one packet for each output, in the order of sending."""
    for made in step.makes:
        yield f"value{made} = EMPTY"
    if step.makes:
        yield "for slot, _, value in sent:"
    for slot, made in enumerate(step.makes):
        yield f"    {'elif' if slot else 'if'} slot == {slot}:"
        yield f"        value{made} = value"
        yield from _indented(_moved(made, steps), _BODY)
        yield f"        if taps{made}:"
        yield f"            flow.deliver(stream{made}, timestamp, value, bound)"
    yield "sent.clear()"
    yield f"context{number}.inputs = ()"
    for made in step.makes:
        yield f"if value{made} is EMPTY:"
        yield f"    pass_by(stream{made}, bound)"
    yield from _told(number, step)


def _live(
    number: int, source: int, steps: Sequence[Step], without: Sequence[int] = ()
) -> str:
    """Those of the values so far that later steps take, by stream."""
    known = {source, *(made for step in steps[: number + 1] for made in step.makes)}
    taken = {each for step in steps[number + 1 :] for each in step.takes}
    live = sorted((known & taken).difference(without))
    return "{" + ", ".join(f"{stream}: value{stream}" for stream in live) + "}"


def _listed(streams: Sequence[int]) -> str:
    return ", ".join(map(str, streams)) or "nothing"

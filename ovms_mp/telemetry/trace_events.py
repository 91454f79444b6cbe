"""Happenings as events of Chrome's trace format, for Perfetto to draw: a process for each
run, a track for what goes on between client and graph, and up to three for each node:
packets that wait for it, its calls, and what those wait for. What overlaps has a track
for each that goes on at a time.

Arrows lead each timestamp from call to call: so the frames of a stream can be told apart
however many are on their way.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from ovms_mp.core.happenings import CLIENT, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ovms_mp.core.happenings import Happening, Subject
    from ovms_mp.core.timestamp import Timestamp

_TRACKS: Final = 100
"""Of one node."""
_NANOSECONDS: Final = 1000


class _Part(NamedTuple):
    begun: int
    ended: int
    name: str


class _Slice(NamedTuple):
    begun: int
    ended: int
    node: int
    row: str
    name: str
    timestamp: Timestamp
    is_step: bool = False
    """The arrow of its timestamp leads here."""
    parts: tuple[_Part, ...] = ()
    """What it is made of, as far as that is known."""


# The order of a node's tracks, and what is added to its name.
_ROWS: Final[Mapping[str, tuple[int, str]]] = {
    "queue": (0, " queue"),
    "calls": (30, ""),
    "waits": (60, " in flight"),
}


_RUNS: Final = 10_000_000
"""Of a process, until numbers begin again: viewers take 32 bits."""
_ARROWS: Final = 1_000_000
"""Of a run. Perfetto takes numbers alone for what leads from one to another, in JSON as
exact as a double is."""


def events_of(
    happenings: Iterable[Happening],
    subjects: Mapping[int, Subject],
    process: int = 0,
) -> Iterator[bytes]:
    """Each as JSON, of one of several processes if it has a number. Happenings of runs
    that are not among the subjects are left out.
    """
    by_run: dict[int, list[Happening]] = defaultdict(list)
    for each in happenings:
        if each.run in subjects:
            by_run[each.run].append(each)
    for run, found in by_run.items():
        for event in _Run(subjects[run], process).events(found):
            yield orjson.dumps(event)


class _Run:
    def __init__(self, subject: Subject, process: int) -> None:
        self._pid = process * _RUNS + subject.run % _RUNS
        self._shape = subject.shape
        worker = f" of worker {process}" if process else ""
        self._title = f"{subject.shape.graph} {subject.kind} {subject.run}{worker}"
        self._arrived: dict[tuple[str, Timestamp], int] = {}
        self._ends: dict[tuple[int, str], list[int]] = defaultdict(list)
        self._inferences: dict[tuple[int, Timestamp], list[_Part]] = defaultdict(list)
        self._named: set[int] = set()

    def events(self, happenings: list[Happening]) -> Iterator[dict[str, Any]]:
        yield self._about("process_name", 0, {"name": self._title})
        slices = [each for happening in happenings for each in self._slices(happening)]
        slices.sort()
        last = {each.timestamp: each for each in slices if each.is_step}
        arrows: dict[Timestamp, int] = {}
        for each in slices:
            tid = self._track(each)
            if tid not in self._named:
                self._named.add(tid)
                yield self._about("thread_name", tid, {"name": self._called(each, tid)})
                yield self._about("thread_sort_index", tid, {"sort_index": tid})
            at = each.timestamp
            yield self._piece(each.row, tid, each, at)
            for part in each.parts:
                yield self._piece("inference", tid, part, at)
            if each.is_step:
                yield self._arrow(each, tid, arrows, is_last=last[at] is each)

    def _piece(
        self, category: str, tid: int, each: _Slice | _Part, timestamp: Timestamp
    ) -> dict[str, Any]:
        return {
            "ph": "X",
            "name": each.name,
            "cat": category,
            "pid": self._pid,
            "tid": tid,
            "ts": each.begun / _NANOSECONDS,
            "dur": (each.ended - each.begun) / _NANOSECONDS,
            "args": {"timestamp": timestamp},
        }

    def _arrow(
        self, step: _Slice, tid: int, arrows: dict[Timestamp, int], *, is_last: bool
    ) -> dict[str, Any]:
        at = step.timestamp
        phase = "f" if is_last else "t"
        if at not in arrows:
            arrows[at] = self._pid * _ARROWS + len(arrows)
            phase = "s"
        return {
            "ph": phase,
            "bp": "e",
            "name": "packet",
            "cat": "packet",
            "id": arrows[at],
            "pid": self._pid,
            "tid": tid,
            "ts": step.begun / _NANOSECONDS,
        }

    def _slices(self, happening: Happening) -> Iterator[_Slice]:
        node, at = happening.node, happening.timestamp
        begun, ended = happening.begun, happening.ended
        match happening.kind:
            case Kind.ENTER:
                for name in self._shape.inputs:
                    self._arrived[name, at] = ended
                since = happening.since
                yield _Slice(since, begun, node, "queue", "waits to enter", at)
                yield _Slice(begun, ended, node, "calls", "enters", at, is_step=True)
            case Kind.RESPOND:
                name = "is answered"
                yield _Slice(begun, ended, node, "calls", name, at, is_step=True)
            case Kind.INFER if node == CLIENT:  # of a model without a graph
                parts = tuple(_parts(happening))
                begun, name = parts[0].begun, "waits"
                yield _Slice(
                    *(begun, ended, node, "waits", name, at), is_step=True, parts=parts
                )
            case Kind.INFER:
                self._inferences[node, at] += _parts(happening)
            case Kind.WAIT:
                # A model may have been asked, and have begun, before the call returned.
                parts = tuple(self._inferences.pop((node, at), ()))
                begun = min((begun, *(part.begun for part in parts)))
                ended = max((ended, *(part.ended for part in parts)))
                yield _Slice(begun, ended, node, "waits", "waits", at, parts=parts)
            case Kind.PROCESS | Kind.RESUME:
                yield from self._call(happening)

    def _call(self, happening: Happening) -> Iterator[_Slice]:
        node, at = happening.node, happening.timestamp
        begun, ended = happening.begun, happening.ended
        subject = self._shape.nodes[node]
        arrived = [
            self._arrived.get((subject.inputs[slot], at), begun)
            for slot in happening.taken
        ]
        if arrived and min(arrived) < begun:
            yield _Slice(min(arrived), begun, node, "queue", "waits", at)
        done = self._inferences.get((node, at), [])
        parts = tuple(
            each for each in done if begun <= each.begun and each.ended <= ended
        )
        if parts:
            del self._inferences[node, at]
        goes_on = " goes on" if happening.kind is Kind.RESUME else ""
        name = subject.name + goes_on
        yield _Slice(begun, ended, node, "calls", name, at, is_step=True, parts=parts)
        for slot, sent_at in happening.made:
            self._arrived[subject.outputs[slot], sent_at] = ended

    def _track(self, each: _Slice) -> int:
        """Where it has room: what is within another of its track lies upon it."""
        base, _ = _ROWS[each.row]
        first = (each.node - CLIENT) * _TRACKS + base
        ends = self._ends[each.node, each.row]
        for number, end in enumerate(ends):
            if end <= each.begun:
                ends[number] = each.ended
                return first + number
        ends.append(each.ended)
        return first + min(len(ends), 30) - 1

    def _called(self, each: _Slice, tid: int) -> str:
        base, more = _ROWS[each.row]
        name = "client" if each.node == CLIENT else self._shape.nodes[each.node].name
        number = tid % _TRACKS - base
        return name + more + (f" {number + 1}" if number else "")

    def _about(self, what: str, tid: int, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"ph": "M", "name": what, "pid": self._pid, "tid": tid, "args": args}


def _parts(inference: Happening) -> Iterator[_Part]:
    """What an inference was: its turn at the model, and the model itself."""
    model, begun = inference.model, inference.begun
    if inference.since < begun:
        yield _Part(inference.since, begun, f"{model}: waits its turn")
    yield _Part(begun, inference.ended, model)

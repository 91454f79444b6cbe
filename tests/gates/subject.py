"""The server that gates try, in a process of its own; and the law that holds after
everything that is done to it: nothing is left, and nothing went wrong unseen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from ovms_mp_protos import kserve

from ovms_mp.app import compute_threads
from ovms_mp.telemetry import families
from tests.gates.gate import Figure, none
from tests.python_nodes import site
from tests.wire import zoo
from tests.wire.rest import Rest
from tests.wire.servers import HOST, Process
from tests.wire.waiting import until

STARTS_WITHIN: Final = 120.0  # seconds; other servers may be at work beside it
SETTLES_WITHIN: Final = 10.0
FILES: Final = 5
"""gRPC opens one or the other of its own when it first needs them."""
THREADS: Final = FILES + compute_threads()
"""Pools start theirs when they first need them, too."""

_REST: Final = re.compile(rf"REST server listening on {HOST}:(\d+)")
# Whatever a client does, this is never said; errors that are logged as such neither.
_FAULTS: Final = re.compile(r"Traceback|incident|\]\[error\]|\]\[critical\]|Fatal ")

MODELS: Final = ("add_one", "pair", "sluggish", "total")
GRAPHS: Final[Mapping[str, tuple[str, dict[str, str]]]] = {
    **{
        name: (zoo.GRAPHS[name], {})
        for name in ("echo", "add", "fan", "join", "totals")
    },
    **{name: (zoo.GRAPHS[name], {}) for name in ("slow", "image")},
    "words": (zoo.words(), {"speaker": zoo.HANDLER}),
    "aside": (site.graph(options=site.PROCESS), {"handler": zoo.HANDLER}),
}
"""Every kind of node there is: none, inference, state, Python in the process and beside."""


@dataclass(frozen=True, slots=True)
class State:
    """What a server holds."""

    graphs: float
    streams: float
    slots: float
    files: int
    threads: int
    children: int
    memory: int
    """Bytes that are resident."""

    @property
    def is_idle(self) -> bool:
        """Nobody's work is in it."""
        return not (self.graphs or self.streams or self.slots)


def build(folder: Path, **more: tuple[str, dict[str, str]]) -> Path:
    """MODELS and GRAPHS and more graphs, each a pbtxt and its handlers; their config."""
    models = zoo.models()
    for name in MODELS:
        zoo.add_model(folder, name, models[name])
    graphs = {**GRAPHS, **more}
    for name, (pbtxt, handlers) in graphs.items():
        zoo.add_graph(folder, name, pbtxt, **handlers)
    entries: list[dict[str, Any]] = [{"name": name} for name in graphs]
    return zoo.write_config(folder, [zoo.entry(name) for name in MODELS], entries)


class Subject(Process):
    """`python -m ovms_mp`, with REST and all metrics."""

    def __init__(self, folder: Path, *flags: str) -> None:
        names = ",".join(each.name for each in families.FAMILIES)
        more = ("--rest_port", "auto", "--metrics_enable", "--metrics_list", names)
        super().__init__(folder, *flags, *more, "--probe_models=false")

    @property
    def pid(self) -> int:
        return self.process.pid

    def ready(self) -> str:
        """The address, once everything is loaded."""
        is_over = self.process.poll
        until(lambda: "serving: " in self.log or is_over() is not None, STARTS_WITHIN)
        return super().ready()

    @property
    def rest(self) -> Rest:
        """Its REST port, once it is ready."""
        found = _REST.search(self.log)
        assert found, self.log
        return Rest(int(found[1]))

    def total(self, family: str) -> float:
        """The sum of a family over its labels, now."""
        return _total(self.rest.get("/metrics").body.decode(), family)

    def state(self) -> State:
        """What it holds now."""
        page = self.rest.get("/metrics").body.decode()
        home = Path(f"/proc/{self.pid}")
        tasks = [*home.glob("task/*")]
        children = [_children(each) for each in tasks]
        return State(
            graphs=_total(page, "ovms_current_graphs"),
            streams=_total(page, "ovms_mp_open_streams"),
            slots=_total(page, "ovms_infer_req_active"),
            files=len([*home.glob("fd/*")]),
            threads=len(tasks),
            children=sum(children),
            memory=self.memory(),
        )

    def is_idle(self) -> bool:
        """Whether nobody's work is in it."""
        return self.state().is_idle

    def is_live(self, channel: grpc.Channel) -> bool:
        """Whether it answers that it lives."""
        method: Any = channel.unary_unary(
            kserve.SERVER_LIVE, None, kserve.ServerLiveResponse.FromString
        )
        return method(b"", timeout=30).live

    def faults(self, expected: Iterable[str] = ()) -> list[str]:
        """Lines of the log that should not be there, but for those with such words."""
        return [
            line
            for line in self.log.splitlines()
            if _FAULTS.search(line) and not any(each in line for each in expected)
        ]

    def left(
        self,
        before: State,
        expected: Iterable[str] = (),
        within: float = SETTLES_WITHIN,
    ) -> list[Figure]:
        """The law: what is left in it that was not there `before`, after so many seconds,
        and what was said that was not `expected`.
        """
        until(lambda: self._has_settled(before), within)
        now = self.state()
        return [
            none("graphs that are open", now.graphs),
            none("streams that are open", now.streams),
            none("infer requests that are busy", now.slots),
            _more("files", now.files - before.files, FILES),
            _more("threads", now.threads - before.threads, THREADS),
            _more("processes", now.children - before.children, 0),
            none("faults in the log", len(self.faults(expected))),
        ]

    def _has_settled(self, before: State) -> bool:
        now = self.state()
        return (
            now.is_idle
            and now.files <= before.files + FILES
            and now.threads <= before.threads + THREADS
            and now.children <= before.children
        )


def _children(task: Path) -> int:
    """How many processes it started; none if it ended while its fellows were looked at:
    its children are another's then.
    """
    try:
        return len((task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _more(what: str, count: int, at_most: int) -> Figure:
    return Figure(f"{what} more than before", max(0, count), at_most=at_most)


def _total(page: str, family: str) -> float:
    found = re.findall(rf"^{family}(?:\{{.*\}})? (\S+)$", page, re.MULTILINE)
    return sum(map(float, found))

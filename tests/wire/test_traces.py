"""A trace says where each frame's time went, of streams that were open before as well."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from ovms_mp.core.happenings import Happening, Kind, NodeSubject, Shape, Subject
from ovms_mp.frontend.http.seeing import MAX_TRACE_SECONDS
from ovms_mp.settings.security import SecuritySettings
from ovms_mp.telemetry.trace import MAX_HAPPENINGS, MAX_RUNS, Recording, chunks
from tests.wire import zoo
from tests.wire.calls import Stream, ask, connect, floats, infer
from tests.wire.rest import Answer, Rest
from tests.wire.servers import Process, Server, serving
from tests.wire.waiting import until
from tests.wire.web import ROW

TRACE = "/v1/trace"
Events = list[dict[str, Any]]


@pytest.fixture
def rest(server: Server) -> Rest:
    return Rest(server.app.rest_port)


class Asking(threading.Thread):
    """Asks for a trace, which takes its time."""

    def __init__(self, rest: Rest, seconds: float) -> None:
        super().__init__()
        self._rest = rest
        self._path = f"{TRACE}?seconds={seconds}"
        self.answer: Answer | None = None

    def run(self) -> None:
        self.answer = self._rest.ask("POST", self._path)

    def events(self) -> Events:
        self.join()
        assert self.answer is not None
        assert self.answer.code == 200, self.answer.body
        return json.loads(self.answer.body)["traceEvents"]


def is_watched(server: Server) -> bool:
    """Whether somebody watches, and all streams that are open know of it."""
    watching = server.app.observing.watching
    return bool(watching._watchers) and not watching._changing.locked()


@contextmanager
def tracing(server: Server, seconds: float) -> Iterator[Asking]:
    asking = Asking(Rest(server.app.rest_port), seconds)
    asking.start()
    assert until(lambda: is_watched(server) or not asking.is_alive())
    yield asking
    asking.join()


def traced(server: Server, act: Callable[[], object]) -> Events:
    """Of what `act` does. It is called again when it has taken longer than its trace."""
    seconds, is_whole = 0.3, False
    events: Events = []
    while not is_whole:
        seconds *= 2
        with tracing(server, seconds) as asked:
            act()
            is_whole = is_watched(server)
        events = asked.events()
    return events


def answers(stream: Stream, count: int) -> None:
    for _ in range(count):
        stream.answer()


def named(events: Events, kind: str) -> dict[Any, str]:
    return {
        (each["pid"], each["tid"]): each["args"]["name"]
        for each in events
        if each["name"] == kind
    }


def slices(events: Events) -> Events:
    return [each for each in events if each["ph"] == "X"]


def test_the_frames_of_a_stream_that_was_open_are_led_from_node_to_node(
    server: Server,
) -> None:
    with (
        server.connect() as channel,
        Stream(channel, ask("fan", {"in": ROW}, at=0)) as stream,
    ):
        answers(stream, 2)
        numbers = count(1)
        sent: list[int] = []

        def act() -> None:
            sent[:] = islice(numbers, 5)
            for number in sent:
                stream.send(ask("fan", {"in": ROW}, at=number))
            answers(stream, 10)

        events = traced(server, act)
    tracks = named(events, "thread_name")
    (run,) = set(named(events, "process_name").values())
    assert run.startswith("fan stream ")
    found = {
        (tracks[s["pid"], s["tid"]], s["args"]["timestamp"]) for s in slices(events)
    }
    for at in sent:
        assert {("client", at), ("OpenVINOInferenceCalculator", at)} <= found
    inferred = [s for s in slices(events) if s["name"] == "add_one"]
    assert sorted(s["args"]["timestamp"] for s in inferred) == sent
    arrows = defaultdict(list)
    for each in events:
        if each["ph"] in "stf":
            arrows[each["id"]].append(each["ph"])
    assert len(arrows) == 5
    for phases in arrows.values():
        assert phases[0] == "s"
        assert phases[-1] == "f"
        assert set(phases[1:-1]) <= {"t"}
        assert len(phases) >= 4


def test_a_model_without_a_graph_has_its_inferences(server: Server, rest: Rest) -> None:
    """Also in requests that are like others before them, and go a shorter way else."""
    asked = [ask("add_one", {"x": floats(*range(n, n + 10))}) for n in range(3)]
    with server.connect() as channel, Stream(channel) as stream:
        stream.send(ask("add_one", {"x": floats(*range(10))}, at=5))
        stream.answer()
        for each in asked:
            infer(channel, each)

        def act() -> None:
            stream.send(ask("add_one", {"x": floats(*range(10))}, at=7))
            stream.answer()
            for each in asked:
                infer(channel, each)

        events = traced(server, act)
    tracks = named(events, "thread_name")
    runs = sorted(set(named(events, "process_name").values()))
    assert len(runs) == 4
    assert [run.rpartition(" ")[0] for run in runs] == [
        *["add_one request"] * 3,
        "add_one stream",
    ]
    found = defaultdict(list)
    for each in slices(events):
        at = each["args"]["timestamp"]
        found[each["pid"], at].append((tracks[each["pid"], each["tid"]], each["name"]))
    assert sorted(at for _, at in found) == [0, 0, 0, 7]
    for (_, at), steps in found.items():
        assert ("client", "enters") in steps
        assert ("client in flight", "add_one") in steps
        assert (("client", "is answered") in steps) == (at == 7)


def test_slices_of_a_track_lie_beside_or_within_each_other(server: Server) -> None:
    """Perfetto shows no others."""
    with server.connect() as channel, Stream(channel) as stream:
        numbers = count()

        def act() -> None:
            for number in islice(numbers, 100):
                stream.send(ask("fan", {"in": ROW}, at=number))
            answers(stream, 200)

        events = traced(server, act)
    by_track = defaultdict(list)
    for each in slices(events):
        assert each["dur"] >= 0
        by_track[each["pid"], each["tid"]].append(
            (each["ts"], each["ts"] + each["dur"])
        )
    assert by_track
    for found in by_track.values():
        found.sort(key=lambda span: (span[0], -span[1]))
        open_: list[float] = []
        for begun, ended in found:
            while open_ and open_[-1] <= begun + 1e-3:
                open_.pop()
            assert not open_ or ended <= open_[-1] + 1e-3
            open_.append(ended)


def test_a_request_is_a_run_of_its_own(server: Server, rest: Rest) -> None:
    request = ask("fan", {"in": ROW})
    with server.connect() as channel:
        events = traced(server, lambda: [infer(channel, request) for _ in range(2)])
    runs = set(named(events, "process_name").values())
    assert len(runs) == 2
    assert all(run.startswith("fan request ") for run in runs)


def test_afterwards_nobody_watches(server: Server) -> None:
    with (
        server.connect() as channel,
        Stream(channel, ask("fan", {"in": ROW})) as stream,
    ):
        answers(stream, 2)
        with tracing(server, 0.1):
            pass
        assert not server.app.observing.watching._watchers
        stream.send(ask("fan", {"in": ROW}))
        answers(stream, 2)
        streams = server.app.observing.watching._streams
        assert until(lambda: len(streams) == 1)  # those before it have left
        (open_,) = streams.values()
        nodes = open_.stream._run._scheduler.nodes  # pyright: ignore[reportAttributeAccessIssue]
        assert not any(type(node.process).__name__ == "_Watched" for node in nodes)


def test_one_trace_at_a_time_and_not_for_long(server: Server, rest: Rest) -> None:
    codes: list[int] = []
    other = f"{TRACE}?seconds=0.1"
    traced(server, lambda: codes.append(rest.ask("POST", other).code))
    assert codes[-1] == 429
    for seconds in ("0", "-1", "nan", "inf", "x", str(MAX_TRACE_SECONDS + 1)):
        refused = rest.ask("POST", f"{TRACE}?seconds={seconds}")
        assert refused.code == 400
        assert "at most 30" in refused.error
    assert rest.ask("GET", TRACE).code == 406


def test_a_trace_is_for_administrators(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    (tmp_path / "keys").write_text("client")
    (tmp_path / "admins").write_text("admin")
    security = SecuritySettings(tmp_path / "keys", tmp_path / "admins")
    with serving(config, security=security) as server:
        rest = Rest(server.app.rest_port)
        path = f"{TRACE}?seconds=0.1"
        for key, code in (("", 401), ("client", 403), ("admin", 200)):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            assert rest.ask("POST", path, headers=headers).code == code


def test_a_file_is_written_at_the_end(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    path = tmp_path / "trace.json"
    flags = ("--config_path", str(config), "--trace_path", str(path))
    with Process(tmp_path, *flags) as server:
        address = server.ready()
        assert f"a trace is recorded; it is in {path} when" in server.log
        with connect(address) as channel, Stream(channel) as stream:
            for number in range(10):
                stream.send(ask("echo", {"in": floats(number)}, at=number))
            answers(stream, 10)
            stream.half_close()
        server.ask_to_stop()
        assert server.code() == 0
    events = json.loads(path.read_text())["traceEvents"]
    assert {each["args"]["timestamp"] for each in slices(events)} == set(range(10))


def test_a_file_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    path = tmp_path / "nowhere" / "trace.json"
    with Process(
        tmp_path, "--config_path", str(config), "--trace_path", str(path)
    ) as server:
        assert server.code() == 1
        assert "No such file or directory" in server.log


def test_a_recording_has_room_for_so_much_and_keeps_the_latest() -> None:
    recording = Recording()
    shape = Shape("g", (NodeSubject("n", ("in",), ("out",)),), ("in",))
    for run in range(MAX_RUNS + 10):
        recording.opened(Subject(run, shape, "stream"))
    last = MAX_RUNS + 9
    for at in range(MAX_HAPPENINGS + 10):
        recording.happened(Happening(Kind.PROCESS, last, 0, at, at, at + 1))
    recording.happened(
        Happening(Kind.PROCESS, 0, 0, 0, 0, 1)
    )  # of one that is forgotten
    events = json.loads(b"".join(chunks(recording.events())))["traceEvents"]
    seen = [each["args"]["timestamp"] for each in slices(events)]
    assert (seen[0], seen[-1]) == (11, MAX_HAPPENINGS + 9)

"""Readiness follows what is so, by every way in which it can be asked for: gRPC's two, its
health protocol, asked and watched, and REST's two; and answers while others compute.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import pytest
from ovms_mp_protos import kserve

from ovms_mp.servable.description import State
from tests.python_nodes import site
from tests.reload.mount import plus
from tests.reload.probes import Probes, agree
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import arrays, ask, connect, infer, refusal, text
from tests.wire.rest import Rest
from tests.wire.servers import Process, serving
from tests.wire.waiting import until

ANSWERED_WITHIN: Final = 0.1
"""Seconds that one answer of a hundred may take when there is no processor to spare."""

TRIALS: Final = 5
FOUR: Final = np.zeros((1, 4), np.float32)


def broken(config: Path) -> None:
    zoo.add_model(config.parent, "late", plus(1))
    (config.parent / "late" / "1" / "model.xml").write_text("not anything")
    zoo.write_config(config.parent, [zoo.entry("m"), zoo.entry("late")])


def test_each_probe_tells_of_each_failure_and_of_its_end(tmp_path: Path) -> None:
    zoo.add_model(tmp_path, "m", plus(1))
    config = zoo.write_config(tmp_path, [zoo.entry("m")])
    with (
        serving(config, file_system_poll_wait_seconds=0) as server,
        server.connect() as channel,
    ):
        rest = Rest(server.app.rest_port)
        late, m = Probes(channel, rest, "late"), Probes(channel, rest, "m")
        assert agree(m.of_the_server, on=True)
        assert agree(late.of_the_servable, on=False)
        # What is wanted and cannot be loaded
        broken(config)
        assert not server.app.reload().is_ok
        assert agree(m.of_the_server, on=False)
        assert agree(late.of_the_servable, on=False)
        assert agree(m.of_the_servable, on=True)
        # and then can
        tiny.save(tmp_path / "late" / "1", plus(1))
        assert server.app.reload().is_ok
        assert agree(m.of_the_server, on=True)
        assert agree(late.of_the_servable, on=True)
        # What is wanted no more
        zoo.write_config(tmp_path, [zoo.entry("m")])
        assert server.app.reload().is_ok
        assert agree(late.of_the_servable, on=False)
        assert agree(m.of_the_server, on=True)
        # A server that is about to stop
        server.app.catalog.stop()
        assert agree(m.of_the_server, on=False)
        for each in (late, m):
            each.close()


REFUSED: Final[Mapping[str, Mapping[str, Any]]] = {
    "a model of a wrong shape": {"models": [zoo.entry("late", shape="1,4")]},
    "a model that lies nowhere": {
        "models": [zoo.entry("late", base_path="hdfs://a/b")]
    },
    "a graph that lies nowhere": {
        "graphs": [{"name": "late", "base_path": "s3://a/b"}]
    },
    "a pipeline": {
        "pipeline_config_list": [
            {"name": "late", "inputs": ["x"], "nodes": [], "outputs": []}
        ]
    },
}


def configured(
    folder: Path, models: Sequence[Any] = (), graphs: Sequence[Any] = (), **more: Any
) -> Path:
    """The model `m` and more."""
    return zoo.write_config(folder, [zoo.entry("m"), *models], graphs, **more)


@pytest.mark.parametrize("case", REFUSED)
def test_a_name_that_is_refused_is_one_that_is_not_served(
    tmp_path: Path, case: str
) -> None:
    """Whether the server starts with it or is given it later; what is served beside it is
    as ready as before.
    """
    zoo.add_model(tmp_path, "m", plus(1))
    config = configured(tmp_path, **REFUSED[case])
    with (
        serving(config, file_system_poll_wait_seconds=0) as server,
        server.connect() as channel,
    ):
        m = Probes(channel, Rest(server.app.rest_port), "m")
        for _ in range(2):
            assert agree(m.of_the_server, on=False)
            assert agree(m.of_the_servable, on=True)
            (told,) = [s for s in server.app.catalog.index() if s.name == "late"]
            assert (told.state, told.reason != "") == (State.UNAVAILABLE, True)
            configured(tmp_path)
            assert server.app.reload().is_ok
            assert agree(m.of_the_server, on=True)
            configured(tmp_path, **REFUSED[case])
            assert not server.app.reload().is_ok
        m.close()


def test_a_name_that_is_refused_and_served_still_is_served(tmp_path: Path) -> None:
    zoo.add_model(tmp_path, "m", plus(1))
    config = configured(tmp_path)
    with serving(config, file_system_poll_wait_seconds=0) as server:
        zoo.write_config(tmp_path, [zoo.entry("m", shape="1,4")])
        assert not server.app.reload().is_ok
        assert server.app.catalog.is_ready
        (told,) = server.app.catalog.index()
        assert told.state is State.READY and "expected (1,3" in told.reason


def test_a_name_that_is_refused_is_no_matter_to_who_latches(tmp_path: Path) -> None:
    zoo.add_model(tmp_path, "m", plus(1))
    config = configured(tmp_path, **REFUSED["a pipeline"])
    with serving(config, readiness="latched") as server:
        assert server.app.catalog.is_ready


BROKEN: Final = '{"model_config_list": ['


def with_subconfig(folder: Path, text: str) -> Path:
    """A graph that needs no model, and a subconfig beside it; the config."""
    zoo.add_model(folder, "m", plus(1))
    zoo.add_model(folder, "own", plus(2))
    zoo.add_graph(folder, "echo", zoo.ECHO)
    (folder / "echo" / "subconfig.json").write_text(text)
    return configured(folder, graphs=[{"name": "echo"}])


NAMED: Final = json.dumps({"model_config_list": [zoo.entry("own", base_path="../own")]})


def test_models_that_nobody_could_read_of_are_not_served(tmp_path: Path) -> None:
    """What a subconfig names that never could be read is not known, so that nobody can
    say it were served; the graph beside it is, and what is broken is told of it.
    """
    config = with_subconfig(tmp_path, BROKEN)
    subconfig = tmp_path / "echo" / "subconfig.json"
    with (
        serving(config, file_system_poll_wait_seconds=0) as server,
        server.connect() as channel,
    ):
        rest = Rest(server.app.rest_port)
        echo, own = Probes(channel, rest, "echo"), Probes(channel, rest, "own")
        assert agree(echo.of_the_server, on=False)
        assert agree(echo.of_the_servable, on=True)
        (told,) = [s for s in server.app.catalog.index() if s.name == "echo"]
        assert told.state is State.READY and "subconfig.json" in told.reason
        assert server.said("echo: ", "subconfig.json")
        subconfig.write_text(NAMED)
        assert server.app.reload().is_ok
        assert agree(echo.of_the_server, on=True)
        assert agree(own.of_the_servable, on=True)
        # From now on it has been read: what it said goes on to be served.
        subconfig.write_text(BROKEN)
        assert not server.app.reload().is_ok
        assert agree(echo.of_the_server, on=True)
        assert agree(own.of_the_servable, on=True)
        # One that is new, and broken, may name anything.
        zoo.add_graph(tmp_path, "late", zoo.ECHO)
        (tmp_path / "late" / "subconfig.json").write_text(BROKEN)
        configured(tmp_path, graphs=[{"name": "echo"}, {"name": "late"}])
        assert not server.app.reload().is_ok
        assert agree(echo.of_the_server, on=False)
        # Whoever wants it no more does not wait for what it names.
        configured(tmp_path, graphs=[{"name": "echo"}])
        subconfig.write_text(NAMED)
        assert server.app.reload().is_ok
        assert agree(echo.of_the_server, on=True)
        for each in (echo, own):
            each.close()


def test_a_subconfig_that_nobody_could_read_is_no_matter_to_who_latches(
    tmp_path: Path,
) -> None:
    with serving(with_subconfig(tmp_path, BROKEN), readiness="latched") as server:
        assert server.app.catalog.is_ready


def test_a_graph_whose_processes_keep_ending_is_not_ready_until_one_lives(
    tmp_path: Path,
) -> None:
    """While a handler's circuit is open nobody is answered, and everybody is told so by
    every probe; its neighbours are as ready as before.
    """
    ill = tmp_path / "ill"
    pbtxt = site.graph(options=site.PROCESS)
    zoo.add_graph(tmp_path, "fragile", pbtxt, handler=site.fragile(ill))
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    graphs = [{"name": "fragile"}, {"name": "echo"}]
    config = zoo.write_config(tmp_path, [], graphs)
    with serving(config) as server, server.connect() as channel:
        rest = Rest(server.app.rest_port)
        probes, echo = Probes(channel, rest, "fragile"), Probes(channel, rest, "echo")
        assert agree(probes.of_the_server, on=True)
        assert agree(probes.of_the_servable, on=True)
        ill.touch()  # from now on none lives
        code, _ = refusal(channel, ask("fragile", {"in": text("exit")}))
        assert code == "UNAVAILABLE"
        assert until(lambda: not server.app.catalog.is_ready, 30)
        assert agree(probes.of_the_server, on=False)
        assert agree(probes.of_the_servable, on=False)
        assert agree(echo.of_the_servable, on=True)
        assert refusal(channel, ask("fragile", {"in": text("word")})) == (
            "UNAVAILABLE",
            "A node of the graph is not available - CalculatorGraph::Run() failed: "
            'Calculator::Process() for node "worker" failed: the node\'s processes keep '
            "ending; it is tried again soon",
        )
        (told,) = [s for s in server.app.catalog.index() if s.name == "fragile"]
        assert told.state is State.UNAVAILABLE
        assert told.reason.startswith(
            'node "worker": the node\'s processes keep ending'
        )
        (version,) = rest.get("/v1/models/fragile").json["model_version_status"]
        assert version["state"] == "LOADING"
        assert version["status"]["error_code"] == "FAILED_PRECONDITION"
        assert version["reason"] == told.reason
        ill.unlink()
        assert until(lambda: server.app.catalog.is_ready, 30)
        assert agree(probes.of_the_server, on=True)
        assert agree(probes.of_the_servable, on=True)
        answer = infer(channel, ask("fragile", {"in": text("word")}))
        assert arrays(answer)["out"] == [*b"word"]
        for each in (probes, echo):
            each.close()


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[grpc.Channel, Rest]]:
    """A server whose model has more to do than all processors can."""
    zoo.add_model(tmp_path, "slow", tiny.slow(steps=40, size=256))
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(
        tmp_path, [zoo.entry("slow", nireq=4)], [{"name": "echo"}]
    )
    flags = ("--config_path", str(config), "--rest_port", "auto")
    message = ask("slow", {"x": np.zeros((256, 256), np.float32)}).SerializeToString()
    is_over = threading.Event()
    with Process(tmp_path, *flags) as server, connect(server.ready()) as channel:
        listening = re.search(r"REST server listening on \S*:(\d+)", server.log)
        assert listening, server.log
        port = int(listening[1])

        def press() -> None:
            infer = channel.unary_unary(kserve.MODEL_INFER)
            while not is_over.is_set():
                infer(message, timeout=60)

        pressing = [threading.Thread(target=press) for _ in range(8)]
        for each in pressing:
            each.start()
        try:
            with connect(server.ready()) as own:
                yield own, Rest(port)
        finally:
            is_over.set()
            for each in pressing:
                each.join()


def idle_share(seconds: float) -> float:
    """Of all processors, while so much time passes."""

    def times() -> tuple[int, int]:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        return sum(map(int, fields)), int(fields[3])

    before = times()
    time.sleep(seconds)
    after = times()
    return (after[1] - before[1]) / max(1, after[0] - before[0])


@pytest.mark.timeout(300)
def test_probes_are_answered_soon_when_no_processor_is_free(
    busy: tuple[grpc.Channel, Rest],
) -> None:
    """More than once later than that is too late: anything on this machine may come
    between.
    """
    channel, rest = busy
    probes = Probes(channel, rest, "echo")
    asked = [
        probe
        for name, probe in {**probes.of_the_server, **probes.of_the_servable}.items()
        if "Watch" not in name
    ]
    assert agree(probes.of_the_server, on=True)
    assert until(lambda: idle_share(1.0) < 0.1)  # once all of them are at work
    p99: list[float] = []
    while len(p99) < TRIALS and min(p99, default=1.0) > ANSWERED_WITHIN:
        taken: list[float] = []
        for _ in range(50):
            for probe in asked:
                begun = time.perf_counter()
                assert probe()
                taken.append(time.perf_counter() - begun)
        p99.append(float(np.quantile(taken, 0.99)))
    probes.close()
    assert min(p99) <= ANSWERED_WITHIN, p99

"""R15: health is true, and told in time, whatever the server is doing."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
from ovms_mp_protos import kserve

from tests.gates.gate import Figure, Run, none, percentile, seconds
from tests.gates.subject import Subject, build
from tests.python_nodes import site
from tests.reload.mount import replace
from tests.wire import zoo
from tests.wire.calls import ask, connect, refusal, text
from tests.wire.rest import Rest
from tests.wire.waiting import until
from tests.workers.servers import WHO, Workers, is_ready

PRESSING: Final = 8
EVERY: Final = 0.02  # seconds
P99: Final = 0.1
TOLD_WITHIN: Final = 2.0
NOTICED_WITHIN: Final = 4.0
"""That, and what is mounted is looked at every second, and has to be stable."""

SEEN_WITHIN: Final = 30.0
SERVING: Final = kserve.HealthCheckResponse.SERVING
NOT_SERVING: Final = kserve.HealthCheckResponse.NOT_SERVING
SQUARE: Final = np.zeros((512, 512), np.float32)


class Probes:
    """What everybody who may ask is told."""

    def __init__(self, channel: grpc.Channel, rest: Rest) -> None:
        self._check: Any = channel.unary_unary(
            kserve.HEALTH_CHECK, None, kserve.HealthCheckResponse.FromString
        )
        self._ready: Any = channel.unary_unary(
            kserve.SERVER_READY, None, kserve.ServerReadyResponse.FromString
        )
        self._model: Any = channel.unary_unary(
            kserve.MODEL_READY, None, kserve.ModelReadyResponse.FromString
        )
        self._rest = rest

    def checked(self, name: str) -> bool:
        """By grpc.health.v1."""
        question = kserve.HealthCheckRequest(service=name).SerializeToString()
        return self._check(question, timeout=30).status == SERVING

    def of_server(self) -> set[bool]:
        """By grpc.health.v1, ServerReady and REST."""
        return {
            self.checked(""),
            self._ready(b"", timeout=30).ready,
            self._rest.get("/v2/health/ready").code == 200,
        }

    def of(self, name: str) -> set[bool]:
        """The same of a servable."""
        asked = kserve.ModelReadyRequest(name=name).SerializeToString()
        return {
            self.checked(name),
            self._model(asked, timeout=30).ready,
            self._rest.get(f"/v2/models/{name}/ready").code == 200,
        }


def true(run: Run) -> list[Figure]:
    """While every processor computes, probes are answered in time and rightly; and what
    is not served is said so by every door, as soon as it is so, until it is served.
    """
    ill = run.folder / "ill"
    fragile = site.graph(options=site.PROCESS), {"handler": site.fragile(ill)}
    config = build(run.folder, fragile=fragile)
    figures: list[Figure] = []
    with (
        Subject(run.folder, "--config_path", str(config)) as subject,
        connect(subject.ready()) as channel,
    ):
        probes = Probes(channel, subject.rest)
        assert until(lambda: probes.of_server() == {True}, SEEN_WITHIN)
        before = subject.state()
        figures += _under_load(run, subject, probes)
        figures += _unloadable(config, probes)
        figures += _unable(ill, channel, probes)
        figures += subject.left(before, expected=("graph late", "graph fragile"))
    return [*figures, *_worker_killed(run.folder / "workers")]


def _under_load(run: Run, subject: Subject, probes: Probes) -> list[Figure]:
    """Clients that keep every processor busy, and probes all the while."""
    is_over = threading.Event()
    message = ask("sluggish", {"x": SQUARE}).SerializeToString()

    def press() -> None:
        with connect(subject.ready()) as channel:
            while not is_over.is_set():
                refusal(channel, message)

    pressing = [threading.Thread(target=press) for _ in range(PRESSING)]
    for each in pressing:
        each.start()
    until(lambda: subject.total("ovms_infer_req_active") >= 1)
    taken: list[float] = []
    wrong = 0
    end = run.end_of(run.size)
    while time.monotonic() < end:
        begun = time.perf_counter()
        is_serving = probes.checked("")
        taken.append(time.perf_counter() - begun)
        wrong += not is_serving
        time.sleep(EVERY)
    wrong += probes.of_server() != {True}
    is_over.set()
    for each in pressing:
        each.join()
    return [
        Figure("probes while every processor computes", len(taken)),
        none("that called it not ready", wrong),
        seconds("until one is answered, p99", percentile(taken, 99), P99),
    ]


def _unloadable(config: Path, probes: Probes) -> list[Figure]:
    """A graph comes that cannot be loaded, and is mended."""
    home = zoo.add_graph(config.parent, "late", "node {")
    written = json.loads(config.read_text())
    written["mediapipe_config_list"].append({"name": "late"})
    replace(config, json.dumps(written))
    begun = time.monotonic()
    is_told = until(lambda: probes.of_server() == {False}, SEEN_WITHIN)
    taken = time.monotonic() - begun
    is_told = is_told and probes.of("late") == {False} and probes.of("echo") == {True}
    replace(home / "graph.pbtxt", zoo.ECHO)
    is_mended = until(lambda: probes.of_server() == {True}, SEEN_WITHIN)
    is_mended = is_mended and probes.of("late") == {True}
    return [
        seconds(
            "until a graph that cannot be loaded is told of", taken, NOTICED_WITHIN
        ),
        none("doors that do not tell", not is_told),
        none("doors that do not tell that it is mended", not is_mended),
    ]


def _unable(ill: Path, channel: grpc.Channel, probes: Probes) -> list[Figure]:
    """A graph is loaded and can answer nobody: its handler's processes keep ending."""
    ill.touch()
    refusal(channel, ask("fragile", {"in": text("exit")}))
    begun = time.monotonic()
    is_told = until(lambda: probes.of_server() == {False}, SEEN_WITHIN)
    taken = time.monotonic() - begun
    is_told = is_told and probes.of("fragile") == {False}
    is_told = is_told and probes.of("echo") == {True}
    ill.unlink()
    is_mended = until(lambda: probes.of_server() == {True}, SEEN_WITHIN)
    is_mended = is_mended and probes.of("fragile") == {True}
    return [
        seconds("until a graph that can answer nobody is told of", taken, TOLD_WITHIN),
        none("doors that do not tell of it", not is_told),
        none("doors that do not tell that it can again", not is_mended),
    ]


def _worker_killed(folder: Path) -> list[Figure]:
    """One of two workers is killed; who watches the other is told, and told again."""
    folder.mkdir()
    zoo.add_graph(folder, "who", zoo.words(), speaker=WHO)
    config = zoo.write_config(folder, [], [{"name": "who"}])
    with Workers(folder, "--config_path", str(config)) as server, ExitStack() as stack:
        server.ready()
        channels = server.channels(stack, per_worker=1)
        victim, survivor = channels
        until(lambda: is_ready(channels[survivor][0]))  # it is told that all serve
        watch: Any = channels[survivor][0].unary_stream(
            kserve.HEALTH_WATCH, None, kserve.HealthCheckResponse.FromString
        )
        states = watch(b"", timeout=200)
        first = next(states).status
        begun = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        second = next(states).status
        taken = time.monotonic() - begun
        third = next(states).status
        states.cancel()
    expected = (SERVING, NOT_SERVING, SERVING)
    return [
        seconds("until a worker's end is told of", taken, TOLD_WITHIN),
        none(
            "other states than served, not, and served",
            (first, second, third) != expected,
        ),
    ]

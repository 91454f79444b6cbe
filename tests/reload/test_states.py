"""States of versions on the wire: what each call says of each of them, in OVMS's words, and
that nothing is unloaded under who uses it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import pytest
from ovms_mp_protos import kserve

from tests.reload.mount import plus
from tests.reload.test_loading_beside import convolutions
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import Status, ask, infer, status_of
from tests.wire.rest import Rest
from tests.wire.servers import Server, serving
from tests.wire.waiting import until

FOUR: Final = np.zeros((1, 4), np.float32)
REQUESTS: Final = 4
"""One after the other they take some seconds: more than a machine has pauses."""

NO_NAME: Final = ("NOT_FOUND", "Model with requested name is not found")
NO_NAME_TO_INFER: Final = (
    "NOT_FOUND",
    "Mediapipe graph definition with requested name is not found",
)
NO_VERSION: Final = ("NOT_FOUND", "Model with requested version is not found")
NO_NUMBER: Final = ("INVALID_ARGUMENT", "invalid model version format in request")
RETIRED: Final = ("NOT_FOUND", "Model with requested version is retired")
NOT_YET: Final = ("UNAVAILABLE", "Model with requested version is not loaded yet")
READY: Final = ("OK", "")
NOT_READY: Final = ("OK", "not ready")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`m` has versions 2 and 4, one that is broken, and one that was retired; none of
    `broken` can be loaded, and none of `gone` is left.
    """
    folder = tmp_path_factory.mktemp("states")
    for version in (2, 3, 4):
        zoo.add_model(folder, "m", plus(version), version)
    for name, version in (("m", 5), ("broken", 1)):
        zoo.add_model(folder, name, plus(0), version)
        (folder / name / str(version) / "model.xml").write_text("not anything")
    zoo.add_model(folder, "gone", plus(0))
    policy = {"model_version_policy": {"all": {}}}
    entries = [zoo.entry("m", **policy), zoo.entry("broken")]
    config = zoo.write_config(folder, [*entries, zoo.entry("gone")])
    with serving(config, file_system_poll_wait_seconds=0) as server:
        for path in (folder / "m" / "3").iterdir():
            path.unlink()
        (folder / "m" / "3").rmdir()
        zoo.write_config(folder, entries)
        server.app.reload()
        yield server


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel


# By name and version: what ModelReady, ModelMetadata and ModelInfer say, and the code of
# REST's `ready`.
TOLD: Final[dict[tuple[str, str], tuple[Status, Status, Status, int]]] = {
    ("m", ""): (READY, READY, READY, 200),
    ("m", "0"): (READY, READY, READY, 200),
    ("m", "2"): (READY, READY, READY, 200),
    ("m", "4"): (READY, READY, READY, 200),
    ("m", "3"): (NOT_READY, RETIRED, RETIRED, 503),
    ("m", "5"): (NOT_READY, NOT_YET, NOT_YET, 503),
    ("m", "6"): (NO_VERSION, NO_VERSION, NO_VERSION, 404),
    ("m", "two"): (NO_NUMBER, NO_NUMBER, NO_NUMBER, 400),
    ("broken", "1"): (NOT_READY, NOT_YET, NOT_YET, 503),
    ("broken", "2"): (NO_VERSION, NO_VERSION, NO_VERSION, 404),
    ("gone", ""): (NO_VERSION, NO_VERSION, NO_VERSION, 404),
    ("gone", "1"): (NOT_READY, RETIRED, RETIRED, 503),
    ("nobody", ""): (NO_NAME, NO_NAME, NO_NAME_TO_INFER, 404),
}


def readiness(channel: grpc.Channel, name: str, version: str) -> Status:
    message = kserve.ModelReadyRequest(name=name, version=version)
    asking: Any = channel.unary_unary(
        kserve.MODEL_READY, None, kserve.ModelReadyResponse.FromString
    )
    answers: list[Any] = []
    status = status_of(
        lambda: answers.append(asking(message.SerializeToString(), timeout=20))
    )
    return status if status != READY or answers[0].ready else NOT_READY


@pytest.mark.parametrize(("name", "version"), TOLD)
def test_each_call_says_of_each_state_what_ovms_says(
    server: Server, channel: grpc.Channel, name: str, version: str
) -> None:
    metadata = kserve.ModelMetadataRequest(name=name, version=version)
    asking: Any = channel.unary_unary(kserve.MODEL_METADATA)
    path = f"/v2/models/{name}" + (f"/versions/{version}" if version else "")
    request = ask(name, {"x": FOUR}, model_version=version)
    assert (
        readiness(channel, name, version),
        status_of(lambda: asking(metadata.SerializeToString(), timeout=20)),
        status_of(lambda: infer(channel, request)),
        Rest(server.app.rest_port).get(f"{path}/ready").code,
    ) == TOLD[name, version]


def test_the_default_version_is_the_highest_that_is_available(
    channel: grpc.Channel,
) -> None:
    for version in ("", "0"):
        request = ask("m", {"x": FOUR}, model_version=version)
        assert infer(channel, request).model_version == "4"


def test_states_are_told_as_ovms_tells_them(server: Server) -> None:
    config = Rest(server.app.rest_port).get("/v1/config").json
    told = {
        (name, each["version"]): (each["state"], each["status"]["error_code"])
        for name, servable in config.items()
        for each in servable["model_version_status"]
    }
    assert told == {
        ("m", "2"): ("AVAILABLE", "OK"),
        ("m", "3"): ("END", "OK"),
        ("m", "4"): ("AVAILABLE", "OK"),
        ("m", "5"): ("LOADING", "UNKNOWN"),
        ("broken", "1"): ("LOADING", "UNKNOWN"),
        ("gone", "1"): ("END", "OK"),
    }


def state_of(server: Server, name: str) -> str:
    (servable,) = [s for s in server.app.catalog.status() if s.name == name]
    (version,) = servable.versions
    return version.state.name


def test_a_version_is_unloaded_when_its_last_request_is_answered(
    tmp_path: Path,
) -> None:
    zoo.add_model(tmp_path, "slow", tiny.slow(steps=120))
    config = zoo.write_config(tmp_path, [zoo.entry("slow", nireq=1)])
    request = ask("slow", {"x": np.zeros((512, 512), np.float32)})
    with (
        serving(config, file_system_poll_wait_seconds=0) as server,
        server.connect() as channel,
        ThreadPoolExecutor(REQUESTS) as beside,
    ):
        compiled = server.compiled("slow")
        asked = [
            beside.submit(infer, channel, request, timeout=100) for _ in range(REQUESTS)
        ]

        def have_come() -> bool:
            # In this order, which counts none of them twice.
            done = sum(each.done() for each in asked)
            return done + compiled.busy + compiled.waiting == REQUESTS

        assert until(have_come)
        zoo.write_config(tmp_path, [])
        assert server.app.reload().is_ok
        told = state_of(server, "slow"), all(each.done() for each in asked)
        assert told == ("UNLOADING", False)
        again = ask("slow", {"x": FOUR}, model_version="1")
        assert status_of(lambda: infer(channel, again)) == RETIRED
        for each in asked:  # who waits for its slot is its user, too
            assert each.result(100).model_version == "1"
        assert until(lambda: state_of(server, "slow") == "END")
        assert server.is_idle()


def test_a_request_waits_for_a_version_that_is_being_loaded(tmp_path: Path) -> None:
    # The largest that is not compiled apart.
    large = convolutions(layers=28, channels=64)
    zoo.add_model(tmp_path, "small", plus(1))
    entries = [zoo.entry("small")]
    config = zoo.write_config(tmp_path, entries)
    told: list[Status] = []
    with (
        serving(config, file_system_poll_wait_seconds=0) as server,
        server.connect() as channel,
    ):
        # Who is held up meanwhile may find it loaded, and tries another one.
        while NOT_READY not in told and len(told) < 5:
            name = f"large_{len(told)}"
            zoo.add_model(tmp_path, name, large)
            entries.append(zoo.entry(name))
            zoo.write_config(tmp_path, entries)
            server.app.request_reload()
            assert until(partial(is_known, server, name))
            told.append(readiness(channel, name, ""))
            begun = time.monotonic()
            request = ask(name, {"x": np.zeros((1, 64, 28, 28), np.float32)})
            answer = infer(channel, request)
            assert answer.model_version == "1"
            assert time.monotonic() - begun < 10
    assert NOT_READY in told


def is_known(server: Server, name: str) -> bool:
    return name in server.app.catalog.names()

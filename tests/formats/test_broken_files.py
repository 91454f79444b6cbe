"""A model that cannot be read is named with the reason, and the others are served."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as triton
from ovms_mp_clients import Client
from tritonclient.utils import InferenceServerException

from graphs import repository
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.inference.openvino import OpenVINOEngine
from tests.formats import scenes
from tests.formats.broken import BROKEN, INDEX, Broken, crash_reader
from tests.formats.cases import CASES
from tests.formats.routes import Route, graph_of, infer, stream
from tests.unit.inference.tiny import EXACT
from tests.wire import zoo
from tests.wire.servers import Process, Server, serving
from tests.wire.waiting import until

GOOD = tuple(
    Route(case)
    for case in CASES
    if case.model in ("face_detection", "basic_pitch_tflite", "text_direction_onnx")
)
EVERY_BROKEN = pytest.mark.parametrize("each", BROKEN, ids=lambda each: each.name)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Whatever is broken, between models that are not; one more of two versions."""
    folder = tmp_path_factory.mktemp("damaged")
    for each in BROKEN:
        each.put(folder)
    for route in GOOD:
        repository.add_model(folder, route.name)
        zoo.add_graph(folder, route.graph, graph_of(route))
    zoo.add_graph(
        folder,
        "of_crashing",
        zoo.graph(
            ["OVTENSOR:in"],
            ["OVTENSOR:out"],
            zoo.session("crashing"),
            zoo.inferring({"input_2": "in"}, {"note": "out"}),
        ),
    )
    for version in (1, 2):
        repository.add_model(folder, "basic_pitch_onnx", version)
    newest = folder / "basic_pitch_onnx" / "2" / "basic_pitch.onnx"
    newest.write_bytes(newest.read_bytes()[:1000])
    (folder / "of_no_version" / "v1").mkdir(parents=True)
    first, *others = (zoo.entry(route.name) for route in GOOD)
    broken = [zoo.entry(each.name) for each in BROKEN]
    more = [zoo.entry("basic_pitch_onnx"), zoo.entry("of_no_version")]
    graphs = [{"name": route.graph} for route in GOOD]
    config = zoo.write_config(
        folder, [first, *broken, *more, *others], [*graphs, {"name": "of_crashing"}]
    )
    with serving(config, probe_models=True) as server:
        yield server


@pytest.fixture(scope="module")
def client(damaged: Server) -> Iterator[Client]:
    with Client(damaged.address) as client:
        yield client


@pytest.fixture(scope="module")
def triton_client(damaged: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(damaged.address) as client:
        yield client


@EVERY_BROKEN
def test_one_line_of_the_log_names_the_file_and_the_reason(
    damaged: Server, each: Broken
) -> None:
    about = f"model {each.name} version 1: "
    (line,) = (said for said in damaged.log if said.startswith(about))
    assert "\n" not in line
    for words in each.words:
        assert words in line


@EVERY_BROKEN
def test_a_broken_model_is_not_ready_and_refuses(
    triton_client: triton.InferenceServerClient, each: Broken
) -> None:
    assert not triton_client.is_model_ready(each.name, "1")
    with pytest.raises(InferenceServerException) as caught:
        infer(triton_client, each.name, "x", scenes.chord(69))
    assert caught.value.status() == "StatusCode.UNAVAILABLE"
    refusal = "Model with requested version is not loaded yet"
    assert caught.value.message() == refusal


@pytest.mark.parametrize("route", GOOD, ids=lambda route: route.name)
def test_models_beside_broken_ones_answer_alone_and_in_graphs(
    triton_client: triton.InferenceServerClient, client: Client, route: Route
) -> None:
    case = route.case
    array, expected = case.shown()[0]
    alone = infer(triton_client, route.name, case.input, array)
    assert case.meaning(case.roles(alone)) == expected
    (within,) = stream(client, route.graph, [array])
    assert case.meaning(within) == expected


def test_an_older_version_takes_the_place_of_a_broken_one(
    damaged: Server, triton_client: triton.InferenceServerClient
) -> None:
    assert damaged.said("model basic_pitch_onnx version 2: ", "basic_pitch.onnx: ")
    port = "serving_default_input_2:0"
    assert infer(triton_client, "basic_pitch_onnx", port, scenes.chord(69), "1")
    assert triton_client.is_model_ready("basic_pitch_onnx")


def test_a_directory_without_versions_is_told(damaged: Server) -> None:
    why = "Not a single model version directory has valid numeric name"
    assert damaged.said("model of_no_version: ", why, "of_no_version")


def test_a_graph_on_a_broken_model_says_which(damaged: Server, client: Client) -> None:
    assert not client.is_ready("of_crashing")
    assert damaged.said("graph of_crashing: ", 'model "crashing"')


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    model = repository.add_model(tmp_path, "basic_pitch_onnx") / "1"
    file = model / "basic_pitch.onnx"
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read everything")
    engine = OpenVINOEngine()
    try:
        with pytest.raises(ServingError) as caught:
            engine.load(file, EXACT)
    finally:
        engine.close()
    assert caught.value.status is Status.FILE_INVALID
    assert caught.value.details == "basic_pitch.onnx: Permission denied"


@pytest.fixture
def crashing(tmp_path: Path) -> Path:
    """A config of a model that crashes its reader, before one that does not."""
    crash_reader(repository.add_model(tmp_path, "basic_pitch") / "1")
    repository.add_model(tmp_path, "face_detection")
    entries = [zoo.entry("basic_pitch"), zoo.entry("face_detection")]
    return zoo.write_config(tmp_path, entries)


def test_a_model_that_crashes_its_reader_does_not_end_the_server(
    crashing: Path, tmp_path: Path
) -> None:
    with Process(tmp_path, "--config_path", str(crashing)) as process:
        address = process.ready()
        assert process.served() == ["face_detection"]
        assert "saved_model.pb: to read it ends the process that does" in process.log
        with triton.InferenceServerClient(address) as client:
            seen = scenes.planes(scenes.astronaut())
            assert infer(client, "face_detection", "input", seen)
        process.ask_to_stop()
        assert process.code() == 0


def test_without_the_probe_the_same_model_ends_the_server(
    crashing: Path, tmp_path: Path
) -> None:
    flags = ("--config_path", str(crashing), "--probe_models", "false")
    with Process(tmp_path, *flags) as process:
        is_over = process.process.poll
        until(lambda: is_over() is not None or "] serving: " in process.log, 40)
        assert is_over() == -signal.SIGSEGV, f"{INDEX} is refused now: {process.log}"

"""Which of a directory's files is the model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import tritonclient.grpc as triton

from graphs import assets, repository
from tests.formats import scenes
from tests.formats.cases import CASES
from tests.formats.routes import infer
from tests.wire import zoo
from tests.wire.servers import Process, Server, serving

# Models in the order of search, each with the input by which it can be told.
ORDER: Final = (
    ("face_detection", "input", (-1, 3, 128, 128)),
    ("basic_pitch_onnx", "serving_default_input_2:0", (-1, 43844, 1)),
    ("text_direction_paddle", "x", (-1, 3, -1, -1)),
    ("basic_pitch", "input_2", (-1, 43844, 1)),
    ("face_detection_short_range", "input", (1, 128, 128, 3)),
)


def merge(folder: Path, *models: str) -> Path:
    """One version directory with the files of several models."""
    for model in models:
        # Nothing but the names may decide: the last format is the oldest file.
        source = repository.add_model(folder / "sources", model)
        shutil.copytree(source / "1", folder / "merged" / "1", dirs_exist_ok=True)
    return folder / "merged"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """For each format a directory with that one and all that come later."""
    folder = tmp_path_factory.mktemp("mixed")
    models = [model for model, _, _ in ORDER]
    for number, model in enumerate(models):
        merge(folder / model, *reversed(models[number:]))
    (halves := folder / "halves" / "1").mkdir(parents=True)
    for asset in ("face_detection.xml", "text_direction.pdmodel", "basic_pitch.tflite"):
        shutil.copyfile(assets.fetch(asset), halves / asset)
    entries = [zoo.entry(model, base_path=f"{model}/merged") for model in models]
    config = zoo.write_config(folder, [*entries, zoo.entry("halves")])
    with serving(config) as server:
        yield server


def input_of(server: Server, model: str) -> tuple[str, tuple[int, ...]]:
    (port,) = server.compiled(model).inputs
    return port.name, port.info.shape


@pytest.mark.parametrize(("model", "name", "shape"), ORDER)
def test_the_first_format_in_the_order_of_search_is_served(
    mixed: Server, model: str, name: str, shape: tuple[int, ...]
) -> None:
    assert input_of(mixed, model) == (name, shape)


def test_a_format_of_two_files_of_which_one_is_missing_is_passed_over(
    mixed: Server,
) -> None:
    assert input_of(mixed, "halves") == ("serving_default_input_2:0", (-1, 43844, 1))


@pytest.mark.parametrize("model", ["face_detection", "basic_pitch"])
def test_the_flag_model_path_takes_a_file(tmp_path: Path, model: str) -> None:
    (case,) = (each for each in CASES if each.model == model)
    file = repository.add_model(tmp_path, model) / "1" / case.file
    flags = ("--model_name", "it", "--model_path", str(file))
    exact = ("--plugin_config", '{"INFERENCE_PRECISION_HINT": "f32"}')
    with (
        Process(tmp_path, *flags, *exact) as process,
        triton.InferenceServerClient(process.ready()) as client,
    ):
        array, expected = case.shown()[0]
        outputs = infer(client, "it", case.input, array)
        assert case.meaning(case.roles(outputs)) == expected


def test_versions_may_be_of_different_formats(tmp_path: Path) -> None:
    home = tmp_path / "face"
    for version, model in ((1, "face_detection"), (2, "face_detection_short_range")):
        source = repository.add_model(tmp_path / "sources", model) / "1"
        shutil.copytree(source, home / str(version))
    entry = zoo.entry("face", model_version_policy={"all": {}})
    seen = scenes.astronaut()
    with (
        serving(zoo.write_config(tmp_path, [entry])) as server,
        triton.InferenceServerClient(server.address) as client,
    ):
        for version, given in (("1", scenes.planes(seen)), ("2", scenes.rows(seen))):
            assert client.is_model_ready("face", version)
            outputs = infer(client, "face", "input", given, version)
            assert {each.shape[1] for each in outputs.values()} == {896}

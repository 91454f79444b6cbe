"""Whatever a model gives, a graph answers as promised or says whose tensor is wrong; no
run hangs, and no other one notices.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from graphs import assets
from ovms_mp.commands import programs
from tests.graphs import everything
from tests.graphs.everything import asked, check, streamed
from tests.graphs.in_process import rgb
from tests.graphs.made_models import Give, always, replace, sure_of
from tests.vision.bodies import video
from tests.wire.servers import Server
from tests.wire.waiting import until

pytestmark = [
    pytest.mark.timeout(600),
    # As in a server: what numpy warns of is computed all the same.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

_NOT_LOADED: Final = "Failed to initialize mediapipe graph - "
_SUBGRAPHS: Final = Path(assets.__file__).with_name("ovms_mp_graphs")

MODELS: Final = {
    "faces": ("face_detection",),
    "hands": ("palm_detection_full", "hand_landmark_full"),
    "pose": ("pose_detection", "pose_landmark_full"),
}
VALUES: Final[dict[str, Give]] = {
    "nan": always(np.nan),
    "inf": always(np.inf),
    "sure_of_nan": sure_of(np.nan),
    "sure_of_much": sure_of(3e38),
}


def only(wanted: str, *shape: int) -> Give:
    """One output of another shape."""

    def give(name: str, usual: tuple[int, ...]) -> Any:
        return np.full(shape if name == wanted else usual, 100, np.float32)

    return give


def without(unwanted: str) -> Give:
    return lambda name, shape: None if name == unwanted else np.ones(shape, np.float32)


ANY_SIZE: Final = (1, -1, -1, 3)
"""What a model takes of which nothing is known before it gives something."""

WRONG: Final[dict[str, tuple[str, str, Give, str]]] = {
    "fewer_boxes": (
        "faces",
        "face_detection",
        only("regressors", 1, 100, 16),
        'output "regressors" of model "face_detection_fewer_boxes" of shape [1, 100, 16]; '
        "expected [1, 896, 16]",
    ),
    "more_scores": (
        "pose",
        "pose_detection",
        only("Identity_1", 1, 2254, 2),
        'output "Identity_1" of model "pose_detection_more_scores" of shape [1, 2254, 2]; '
        "expected [1, 2254, 1]",
    ),
    "few_landmarks": (
        "hands",
        "hand_landmark_full",
        only("Identity", 1, 10),
        'output "Identity" of model "hand_landmark_full_few_landmarks" of shape [1, 10] has no values '
        "for 21 landmarks",
    ),
    "two_presences": (
        "hands",
        "hand_landmark_full",
        only("Identity_1", 1, 2),
        'output "Identity_1" of model "hand_landmark_full_two_presences" of shape [1, 2] has 2 values; '
        "expected 1",
    ),
    "another_heatmap": (
        "pose",
        "pose_landmark_full",
        only("Identity_3", 1, 64, 64, 3),
        'output "Identity_3" of model "pose_landmark_full_another_heatmap" of shape [1, 64, 64, 3]; '
        "expected [1, height, width, 39]",
    ),
}
"""By a name, the graph, its model, what that gives, and what is said."""

REFUSED: Final[dict[str, tuple[str, str, Give, tuple[int, ...] | None, str]]] = {
    **{
        f"{vice}_for_sure": (
            graph,
            model,
            give,
            None,
            text.replace(f'{vice}"', f'{vice}_for_sure"'),
        )
        for vice, (graph, model, give, text) in WRONG.items()
    },
    "no_scores": (
        "faces",
        "face_detection",
        without("classificators"),
        None,
        'model "face_detection_no_scores" has no output "classificators", it has "regressors"',
    ),
    "small_pictures": (
        "faces",
        "face_detection",
        always(0),
        (1, 64, 64, 3),
        "is of shape [1, 128, 128, -1]; "
        'input "input" of model "face_detection_small_pictures" takes [1, 64, 64, 3]',
    ),
}
"""What is known of models that take one shape: the same, and what they take."""


def frame_of(graph: str) -> Any:
    """Somebody whom the real models find."""
    if graph == "hands":
        return video("cup.mp4.gz", 0, 1)[0]
    picture = cv2.imread(str(assets.fetch("astronaut.png")))
    assert picture is not None
    return rgb(picture)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each graph as it is, and again for each model and each of its vices."""
    folder = tmp_path_factory.mktemp("vices")
    everything.add(folder, *MODELS)
    for graph, models in MODELS.items():
        for model in models:
            for vice, give in VALUES.items():
                replace(_spoiled(folder, graph, model, vice), give)
    for vice, (graph, model, give, _) in WRONG.items():
        replace(_spoiled(folder, graph, model, vice), give, ANY_SIZE)
    with everything.served(folder, *_configure(folder)) as server:
        yield server


def _configure(folder: Path) -> list[str]:
    """All graphs that are there."""
    names = sorted(each.parent.name for each in folder.glob("*/graph.pbtxt"))
    config = {
        "model_config_list": [],
        "mediapipe_config_list": [{"name": n} for n in names],
    }
    (folder / "config.json").write_text(json.dumps(config))
    return names


def _spoiled(folder: Path, graph: str, model: str, vice: str) -> Path:
    """The graph once more, with a model of its own name, which the subgraph beside it
    asks for; where that model lies.
    """
    home = folder / f"{graph}-{model}-{vice}"
    shutil.copytree(folder / graph, home)
    config = json.loads((home / "subconfig.json").read_text())
    (entry,) = (
        each["config"]
        for each in config["model_config_list"]
        if each["config"]["name"] == model
    )
    entry["name"] = f"{model}_{vice}"
    # The others are those of the graph itself: a server has one model of a name.
    config["model_config_list"] = [{"config": entry}]
    (home / "subconfig.json").write_text(json.dumps(config))
    asks = f'servable_name: "{model}"'
    (subgraph,) = (
        each for each in _SUBGRAPHS.glob("*/*.pbtxt") if asks in each.read_text()
    )
    text = subgraph.read_text().replace(asks, f'servable_name: "{model}_{vice}"')
    (home / subgraph.name).write_text(text)
    return home / entry["base_path"] / "1"


@pytest.mark.parametrize("vice", VALUES)
@pytest.mark.parametrize(
    ("graph", "model"), [(graph, each) for graph in MODELS for each in MODELS[graph]]
)
def test_numbers_that_are_none_are_answered_or_told(
    server: Server, graph: str, model: str, vice: str
):
    """Three frames of a stream, for a tracker looks where it found something before."""
    frame = frame_of(graph)
    name = f"{graph}-{model}-{vice}"
    said = streamed(server.address, name, [frame] * 3, of=graph)
    assert len(said) == 3 or isinstance(said[-1], InferenceServerException)
    for answer in said:
        if isinstance(answer, InferenceServerException):
            _tells_of_a_node(answer)
        else:
            check(graph, frame.shape, "UINT8", answer)
            if vice == "nan":  # nothing is as good as the least
                assert {
                    len(answer[each]) for each in answer if each != "annotated"
                } == {0}
    if vice == "sure_of_nan" and "landmark" in model:
        assert f'of model "{model}_{vice}" has values that are not finite' in str(
            said[0]
        )
    try:
        check(graph, frame.shape, "UINT8", asked(server.address, name, frame, of=graph))
    except InferenceServerException as error:
        _tells_of_a_node(error)
    assert until(server.is_idle)


@pytest.mark.parametrize("vice", WRONG)
def test_a_model_of_another_shape_is_told(server: Server, vice: str):
    """By model, output, what was expected and what came; of the graph as it is nothing
    changes.
    """
    graph, model, _, text = WRONG[vice]
    name, frame = f"{graph}-{model}-{vice}", frame_of(graph)
    with pytest.raises(InferenceServerException) as unary:
        asked(server.address, name, frame, of=graph)
    (in_stream,) = streamed(server.address, name, [frame, frame], of=graph)
    for each in (unary.value, in_stream):
        assert isinstance(each, InferenceServerException)
        _tells_of_a_node(each)
        assert text in str(each)
    check(graph, frame.shape, "UINT8", asked(server.address, graph, frame))
    assert until(server.is_idle)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the graphs, and of those that are not to be served."""
    folder = tmp_path_factory.mktemp("refused")
    everything.add(folder, *MODELS)
    for vice, (graph, model, give, size, _) in REFUSED.items():
        replace(_spoiled(folder, graph, model, vice), give, size)
    _configure(folder)
    return folder


def test_graphs_with_models_that_can_never_fit_are_not_served(refusing: Path):
    """The log says which node, tensor and shapes, who asks that the graph is not loaded;
    the others are served.
    """
    with everything.served(refusing, *MODELS) as server:
        for vice, (graph, model, _, _, text) in REFUSED.items():
            name = f"{graph}-{model}-{vice}"
            assert server.said(name, _NOT_LOADED, text), (name, server.log)
            with pytest.raises(InferenceServerException) as caught:
                asked(server.address, name, frame_of(graph), of=graph)
            assert caught.value.status() == "StatusCode.UNAVAILABLE"
            assert "Mediapipe is not loaded yet" in str(caught.value)


def test_graphs_with_models_that_can_never_fit_are_told_before_they_are_served(
    refusing: Path, capsys: pytest.CaptureFixture[str]
):
    """A line for each, with the place in the pbtxt and the node."""
    assert programs.run(["validate", str(refusing)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(REFUSED)
    for vice, (graph, model, _, _, text) in REFUSED.items():
        (line,) = (each for each in lines if f"{graph}-{model}-{vice}:" in each)
        assert _NOT_LOADED in line
        assert re.search(r"\.pbtxt:\d+: node \"\w+\": ", line), line
        assert text in line


def _tells_of_a_node(error: InferenceServerException) -> None:
    assert error.status() == "StatusCode.INVALID_ARGUMENT"
    text = str(error)
    assert re.search(r'Calculator::Process\(\) for node "\w+" failed: ', text), text
    assert "Internal" not in text
    assert ".py" not in text
    assert "to integer" not in text  # Python's words, which tell nobody what is wrong

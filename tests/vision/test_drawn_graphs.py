"""What whole graphs draw looks as if MediaPipe had found and drawn it.

MediaPipe finds faces, hands and bodies by its own graphs, and draws with its own
AnnotationOverlayCalculator; what is to be drawn, in which colour and how thick, is worked
out by hand (see `drawings`). Irises and objects, which it has no graph for, are found by
ours.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from graphs import assets, repository
from ovms_mp.formats.detection import Box, Detection
from ovms_mp.formats.landmark import NormalizedLandmarkList
from ovms_mp.formats.render_data import Color, RenderAnnotation, RenderData
from tests.differential.oracle import Oracle, interpreter
from tests.graphs.in_process import clip, serving
from tests.vision import bodies, drawings, face_graphs
from tests.vision.both import NativeGraphs, image
from tests.vision.drawings import GREEN, RED, VIOLET, Pairs, Shapes
from tests.vision.faces import Pixels
from tests.vision.similarity import similarity
from tests.vision.streamed import served_graph, streamed

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("mediapipe")]

OVERLAY = """
input_stream: "image" input_stream: "data" output_stream: "IMAGE:out"
node { calculator: "AnnotationOverlayCalculator" input_stream: "IMAGE:image"
       input_stream: "data" output_stream: "IMAGE:out" }
"""
FOUND = """
input_stream: "image"
node {{ calculator: "ConstantSidePacketCalculator"
       output_side_packet: "PACKET:0:one" output_side_packet: "PACKET:1:two"
       output_side_packet: "PACKET:2:yes"
       node_options {{ [type.googleapis.com/mediapipe.ConstantSidePacketCalculatorOptions] {{
         packet {{ int_value: 1 }} packet {{ int_value: 2 }}
         packet {{ bool_value: true }} }} }} }}
node {{ calculator: "{name}" input_stream: "IMAGE:image" {more} {outputs} }}
"""
MESH = """
input_stream: "IMAGE:frame" output_stream: "IMAGE:annotated"
node { calculator: "ConstantSidePacketCalculator" output_side_packet: "PACKET:yes"
       node_options { [type.googleapis.com/mediapipe.ConstantSidePacketCalculatorOptions] {
         packet { bool_value: true } } } }
node { calculator: "FaceLandmarkFrontCpu" input_stream: "IMAGE:frame"
       input_side_packet: "WITH_ATTENTION:yes"
       output_stream: "LANDMARKS:landmarks" output_stream: "DETECTIONS:found"
       output_stream: "ROIS_FROM_LANDMARKS:rects" }
node { calculator: "FaceRendererCpu" input_stream: "IMAGE:frame"
       input_stream: "LANDMARKS:landmarks" input_stream: "DETECTIONS:found"
       input_stream: "NORM_RECTS:rects" output_stream: "IMAGE:annotated" }
"""
CONNECTIONS = """
import json, mediapipe.python.solutions as s
contours = s.face_mesh.FACEMESH_CONTOURS
print(json.dumps({
    "hands": sorted(s.hands.HAND_CONNECTIONS), "pose": sorted(s.pose.POSE_CONNECTIONS),
    "face": sorted(contours), "irises": sorted(s.face_mesh.FACEMESH_IRISES),
}))
"""
EYE: Pairs = [*((n, n + 1) for n in (*range(8), *range(9, 14))), (0, 9), (8, 14)]
KINDS = {
    "DETECTIONS": "protos:mediapipe.Detection",
    "LANDMARKS": "protos:mediapipe.NormalizedLandmarkList",
    "RECTS": "protos:mediapipe.NormalizedRect",
    "HANDEDNESS": "protos:mediapipe.ClassificationList",
    "ONE": "proto:mediapipe.NormalizedLandmarkList",
    "RECT": "proto:mediapipe.NormalizedRect",
}


class Finder:
    """What MediaPipe's graphs find in a frame."""

    def __init__(self, native: NativeGraphs, pairs: dict[str, Pairs]) -> None:
        self._native = native
        self.pairs = pairs

    def found(
        self,
        frame: Pixels,
        name: str,
        outputs: dict[str, tuple[str, str]],
        more: str = "",
    ) -> dict[str, Any]:
        """By stream: its tag, and a key of KINDS."""
        ends = "".join(
            f'output_stream: "{tag}:{stream}" ' for stream, (tag, _) in outputs.items()
        )
        pbtxt = FOUND.format(name=name, more=more, outputs=ends)
        pbtxt += "".join(f'output_stream: "{stream}" ' for stream in outputs)
        kinds = {stream: KINDS[kind] for stream, (_, kind) in outputs.items()}
        answer = self._native.run(pbtxt, [("image", image(frame), 0)], kinds)
        return {name: answer[name][0] for name in outputs if answer[name]}

    def drawn(self, frame: Pixels, shapes: Shapes) -> Pixels:
        """By MediaPipe's own calculator."""
        events = [("image", image(frame), 0), ("data", RenderData(tuple(shapes)), 0)]
        return self._native.run(OVERLAY, events, {"out": "image"})["out"][0]


@pytest.fixture(scope="module")
def finder(mediapipe: None) -> Iterator[Finder]:
    python = interpreter()
    assert python is not None
    told = subprocess.run(
        [str(python), "-c", CONNECTIONS], check=True, capture_output=True, timeout=200
    )
    pairs: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    oracle = Oracle(Path(__file__).with_name("native_child.py"), within=60)
    yield Finder(NativeGraphs(oracle), pairs)
    oracle.close()


def of_faces(finder: Finder, frame: Pixels, answer: dict[str, Any]) -> Shapes:
    found = finder.found(
        frame, "FaceDetectionShortRangeCpu", {"faces": ("DETECTIONS", "DETECTIONS")}
    )
    color = Color(255, 60, 20)
    return [e for each in found["faces"] for e in drawings.detection(each, color, 3)]


def of_a_mesh(finder: Finder, frame: Pixels, answer: dict[str, Any]) -> Shapes:
    found = finder.found(
        frame,
        "FaceLandmarkFrontCpu",
        {
            "landmarks": ("LANDMARKS", "LANDMARKS"),
            "faces": ("DETECTIONS", "DETECTIONS"),
            "rects": ("ROIS_FROM_LANDMARKS", "RECTS"),
        },
        'input_side_packet: "NUM_FACES:one" input_side_packet: "WITH_ATTENTION:yes"',
    )
    ((face,), (box,), (rect,)) = found["landmarks"], found["faces"], found["rects"]
    assert len(face) == 478
    pairs = [*finder.pairs["face"], *finder.pairs["irises"]]
    return [
        *drawings.detection(box, GREEN, 4),
        *drawings.rect(rect, RED, 4),
        *drawings.lines(face, pairs, GREEN, 2),
        *drawings.dots(face, RED, 2),
    ]


def of_hands(finder: Finder, frame: Pixels, answer: dict[str, Any]) -> Shapes:
    found = finder.found(
        frame,
        "HandLandmarkTrackingCpu",
        {
            "hands": ("LANDMARKS", "LANDMARKS"),
            "handedness": ("HANDEDNESS", "HANDEDNESS"),
            "palms": ("PALM_DETECTIONS", "DETECTIONS"),
            "next_rects": ("HAND_ROIS_FROM_LANDMARKS", "RECTS"),
            "palm_rects": ("HAND_ROIS_FROM_PALM_DETECTIONS", "RECTS"),
        },
        'input_side_packet: "NUM_HANDS:two"',
    )
    shapes: Shapes = []
    for each in found["palms"]:
        shapes += drawings.detection(each, GREEN, 4)
    for each in found["next_rects"]:
        shapes += drawings.rect(each, RED, 4)
    for each in found["palm_rects"]:
        shapes += drawings.rect(each, VIOLET, 4)
    if len(found["handedness"]) == 1:
        shapes += drawings.title(found["handedness"][0].classification[0].label)
    for each in found["hands"]:
        shapes += drawings.deep(each, finder.pairs["hands"], 4)
    return shapes


def of_a_body(finder: Finder, frame: Pixels, answer: dict[str, Any]) -> Shapes:
    found = finder.found(
        frame,
        "PoseLandmarkCpu",
        {"body": ("LANDMARKS", "ONE"), "roi": ("ROI_FROM_LANDMARKS", "RECT")},
    )
    size = frame.shape[1], frame.shape[0]
    return drawings.body(found["body"], found["roi"], size, finder.pairs["pose"])


def of_a_person(finder: Finder, frame: Pixels, answer: dict[str, Any]) -> Shapes:
    found = finder.found(
        frame,
        "HolisticLandmarkCpu",
        {
            "body": ("POSE_LANDMARKS", "ONE"),
            "roi": ("POSE_ROI", "RECT"),
            "left_hand": ("LEFT_HAND_LANDMARKS", "ONE"),
            "right_hand": ("RIGHT_HAND_LANDMARKS", "ONE"),
            "face": ("FACE_LANDMARKS", "ONE"),
        },
    )
    size = frame.shape[1], frame.shape[0]
    return drawings.person(found, size, finder.pairs)


def of_irises(finder: Finder, frame: Pixels, answer: dict[str, Any]) -> Shapes:
    size = frame.shape[1], frame.shape[0]
    row = answer["face_detections"][0]
    face = NormalizedLandmarkList(answer["updated_face_landmarks"][:, :3])
    shapes = drawings.detection(_detection(row), GREEN, 4, "Face")
    shapes += drawings.lines(face, finder.pairs["face"], GREEN_OF_IRISES, 2)
    shapes += drawings.dots(face, RED_OF_IRISES, 2)
    for side in ("right", "left"):
        eye = NormalizedLandmarkList(answer[f"{side}_eye_contour_landmarks"][:15, :3])
        shapes += drawings.lines(eye, EYE, RED, 1)
        shapes += drawings.dots(eye, RED, 1)
    for side in ("left", "right"):
        shapes += drawings.iris(answer[f"{side}_iris_landmarks"][:, :3], size)
    return shapes


def of_objects(finder: Finder, frame: Pixels, answer: dict[str, Any]) -> Shapes:
    labels = Path(repository.__file__).with_name("object_detection")
    names = (labels / "ssdlite_object_detection_labelmap.txt").read_text().split("\n")
    return [
        each
        for row in answer["filtered_detections"]
        for each in drawings.detection(_detection(row), RED, 4, names[int(row[5])])
    ]


GREEN_OF_IRISES = Color(0, 150, 0)
RED_OF_IRISES = Color(150, 0, 0)


def _detection(row: Any) -> Detection:
    """Of a row of an output of a graph."""
    left, top, width, height, score, _ = row[:6].tolist()
    box = Box(left, top, width, height)
    return Detection(box, (score,), keypoints=row[6:].reshape(-1, 2))


@dataclass(frozen=True)
class Subject:
    """A graph with a frame for it. `more` are streams of it that leave it, too."""

    graph: str
    frame: Callable[[], Pixels]
    shapes: Callable[[Finder, Pixels, dict[str, Any]], Shapes]
    names: tuple[str, str] = ("frame", "annotated")
    more: tuple[str, ...] = ()
    draws_on: Callable[[Pixels], Pixels] = lambda frame: frame


def astronaut() -> Pixels:
    return bodies.picture("astronaut.png")


def footballer() -> Pixels:
    """Twice as large as he is."""
    larger = cv2.resize(bodies.picture("messi5.jpg"), None, fx=2, fy=2)
    return larger.astype(np.uint8)


def small(frame: Pixels) -> Pixels:
    """As the graph scales it."""
    resized = cv2.resize(frame, (320, 320), interpolation=cv2.INTER_AREA)
    return resized.astype(np.uint8)


SUBJECTS = {
    "faces": Subject("faces", astronaut, of_faces),
    "face mesh": Subject(MESH, astronaut, of_a_mesh),
    "irises": Subject(
        "iris_tracking",
        astronaut,
        of_irises,
        ("first_input_video", "output"),
        (
            "face_detections",
            "updated_face_landmarks",
            "left_eye_contour_landmarks",
            "right_eye_contour_landmarks",
            "left_iris_landmarks",
            "right_iris_landmarks",
        ),
    ),
    "hands": Subject("hands", lambda: bodies.video("cup.mp4.gz", 40, 1)[0], of_hands),
    "pose": Subject("pose", astronaut, of_a_body),
    "holistic": Subject("holistic", footballer, of_a_person),
    "objects": Subject(
        "object_detection",
        lambda: clip(assets.fetch("vtest.avi"), 0, 1)[0],
        of_objects,
        ("input", "output"),
        ("filtered_detections",),
        small,
    ),
}


@dataclass(frozen=True)
class Pictures:
    """Of a frame: what a graph drew on it, and what MediaPipe drew, and would draw of
    other shapes.
    """

    frame: Pixels
    mine: Pixels
    theirs: Pixels
    shapes: Shapes
    draw: Callable[[Pixels, Shapes], Pixels]

    def drawn(self, other: Pixels) -> Any:
        """Where ours or the other picture is not the frame."""
        every = np.stack([self.mine, other])
        return (every != self.frame).any(axis=(0, 3))

    def likeness(self, other: Pixels) -> tuple[float, float]:
        """Of ours with another picture: of the whole, and where something is drawn."""
        where = self.drawn(other)
        return similarity(self.mine, other), similarity(self.mine, other, where)


def answered(subject: Subject, frame: Pixels, folder: Path) -> dict[str, Any]:
    """What a graph of ours sends for one frame."""
    into, _ = subject.names
    if "\n" in subject.graph:
        with served_graph(folder, subject.graph, face_graphs.REFINED_MODELS) as catalog:
            return streamed(catalog, "graph", [frame], into)[0]
    file = repository.add_graph(folder, subject.graph) / "graph.pbtxt"
    ends = (
        f'output_stream: "OVTENSOR{n}:{e}"\n' for n, e in enumerate(subject.more, 5)
    )
    file.write_text("".join(ends) + file.read_text())
    with serving(folder) as catalog:
        return streamed(catalog, subject.graph, [frame], into)[0]


@pytest.fixture(scope="module", params=SUBJECTS)
def pictures(
    request: pytest.FixtureRequest,
    finder: Finder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Pictures:
    subject = SUBJECTS[request.param]
    frame = subject.frame()
    answer = answered(subject, frame, tmp_path_factory.mktemp("repository"))
    shapes = subject.shapes(finder, frame, answer)
    under = subject.draws_on(frame)
    theirs = finder.drawn(under, shapes)
    return Pictures(under, answer[subject.names[1]], theirs, shapes, finder.drawn)


def test_what_a_graph_draws_looks_as_mediapipe_draws_it(pictures: Pictures):
    """Structural similarity of at least 0.95, of the whole picture and of what is drawn;
    of a hundred pixels of that no more than four have another colour.
    """
    assert np.mean(pictures.mine != pictures.frame) > 0.001
    whole, drawn = pictures.likeness(pictures.theirs)
    assert whole >= 0.95
    assert drawn >= 0.95
    others = (pictures.mine != pictures.theirs).any(axis=2)
    assert np.mean(others[pictures.drawn(pictures.theirs)]) <= 0.04


@pytest.mark.parametrize("fault", [drawings.recolored, drawings.thickened])
def test_another_colour_or_thickness_does_not_look_as_it(
    pictures: Pictures, fault: Callable[[RenderAnnotation], RenderAnnotation]
):
    """The measure notices what it is for."""
    wrong = pictures.draw(pictures.frame, [fault(each) for each in pictures.shapes])
    _, drawn = pictures.likeness(wrong)
    assert drawn < 0.95


def test_two_pixels_aside_do_not_look_as_it(pictures: Pictures):
    """What is drawn, moved over the frame."""
    is_drawn = (pictures.theirs != pictures.frame).any(axis=2)
    moved = pictures.frame.copy()
    rows, columns = np.nonzero(is_drawn[2:, 2:])
    moved[rows + 2, columns + 2] = pictures.theirs[rows, columns]
    _, drawn = pictures.likeness(moved)
    assert drawn < 0.95

"""Frames through the graph `faces` and through mp.solutions.face_detection, and how far
apart what they find is.

    python -m tests.vision.faces [PICTURE.webp]

prints the figures of docs/accuracy.md, and makes its picture.
"""

from __future__ import annotations

import queue
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from graphs import assets, repository
from ovms_mp.core.errors import ServingError
from ovms_mp.core.messages import InferRequest, InferResponse, InputTensor
from ovms_mp.servable.catalog import Catalog
from tests.differential.oracle import interpreter
from tests.graphs.in_process import clip, rgb, serving

Pixels = NDArray[np.uint8]
Rows = NDArray[np.float32]

GRAPH = "faces"
KEYPOINTS = slice(6, 18)
_CHILD = Path(__file__).with_name("solutions_child.py")


class _Client:
    """A stream on the graph; a StreamSink."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._room: queue.Queue[None] = queue.Queue()
        self._said: queue.Queue[InferResponse | ServingError | None] = queue.Queue()
        self._session: Any = None

    def send(self, frame: NDArray[Any]) -> None:
        datatype = frame.dtype.name.upper()
        tensor = InputTensor("frame", datatype, frame.shape, raw=frame.tobytes())
        request = InferRequest(GRAPH, inputs=(tensor,), raw_count=1)
        if self._session is None:
            self._session = self._catalog.open_stream(request, self)
        else:
            self._room.get(timeout=60)
            self._session.feed(request)

    def finish(self) -> dict[int, dict[str, Any]]:
        self._session.half_close()
        found: dict[int, dict[str, Any]] = {}
        while (said := self._said.get(timeout=60)) is not None:
            if isinstance(said, ServingError):
                raise said
            at = said.parameters["OVMS_MP_TIMESTAMP"]
            assert isinstance(at, int)
            for each in said.outputs:
                dtype = {"UINT8": np.uint8, "FP32": np.float32}[each.datatype]
                array = np.frombuffer(each.data, dtype).reshape(each.shape)
                found.setdefault(at, {})[each.name] = array
        return found

    def response(self, response: InferResponse) -> None:
        self._said.put(response)

    def error(self, error: ServingError, request: InferRequest) -> None:
        self._said.put(error)

    def room(self) -> None:
        self._room.put(None)

    def finished(self, error: ServingError | None) -> None:
        self._said.put(error)


def served(
    catalog: Catalog, frames: Sequence[NDArray[Any]]
) -> tuple[list[Rows], list[Pixels]]:
    """Rows of faces and the annotated frame, for each frame of one stream."""
    client = _Client(catalog)
    for frame in frames:
        client.send(frame)
    answers = client.finish()
    rows = [answers[at]["faces"] for at in range(len(frames))]
    return rows, [answers[at]["annotated"] for at in range(len(frames))]


def solved(frames: Sequence[Pixels]) -> list[Rows]:
    """What mp.solutions finds, by the same frames."""
    python = interpreter()
    assert python is not None
    with tempfile.TemporaryDirectory() as folder:
        given, answers = Path(folder, "frames.npz"), Path(folder, "answers.npz")
        named: dict[str, Any] = {f"{at:05}": each for at, each in enumerate(frames)}
        np.savez(given, **named)
        command = [str(python), str(_CHILD), str(given), str(answers)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        found = np.load(answers)
        return [found[f"{at:05}"] for at in range(len(frames))]


@dataclass(frozen=True)
class Distance:
    """Errors of key points as parts of the image's diagonal."""

    frames: int
    faces: int
    different: int
    """Frames with more or fewer faces than mp.solutions finds."""
    mean: float
    p99: float
    score: float
    """The largest difference of a score."""


def distance(
    mine: Sequence[Rows], theirs: Sequence[Rows], frames: Sequence[Pixels]
) -> Distance:
    """Faces are paired by their order, which is that of their scores."""
    errors: list[Any] = []
    scores = [0.0]
    different = 0
    for found, expected, frame in zip(mine, theirs, frames, strict=True):
        if len(found) != len(expected):
            different += 1
            continue
        size = np.array([frame.shape[1], frame.shape[0]], float)
        apart = (found[:, KEYPOINTS] - expected[:, KEYPOINTS]).reshape(-1, 6, 2) * size
        errors.append(np.hypot(apart[..., 0], apart[..., 1]).ravel() / np.hypot(*size))
        scores += np.abs(found[:, 4] - expected[:, 4]).tolist()
    every = np.concatenate(errors)
    return Distance(
        len(frames),
        sum(map(len, mine)),
        different,
        float(every.mean()),
        float(np.percentile(every, 99)),
        max(scores),
    )


def material() -> Mapping[str, list[Pixels]]:
    """Photographs, some of them cut, turned on their side or without a face, and clips."""
    photo = rgb(_picture("astronaut.png"))
    cuts = [
        photo,
        np.ascontiguousarray(photo[40:300, 100:480]),
        np.ascontiguousarray(photo[:, 90:330]),
        cv2.resize(photo, (1280, 720)),
        cv2.resize(photo, (64, 64)),
        np.ascontiguousarray(photo[:, ::-1]),
        np.ascontiguousarray(np.rot90(photo)),
        np.concatenate([photo, photo[:, ::-1]], axis=1),
        rgb(_picture("coffee.png")),
        rgb(_picture("chelsea.png")),
    ]
    return {
        "photographs": [each.astype(np.uint8) for each in cuts],
        "carphone.mp4": clip(assets.fetch("carphone.mp4"), 0, 120),
    }


def _picture(name: str) -> Any:
    picture = cv2.imread(str(assets.fetch(name)))
    assert picture is not None
    return picture


def drawn(frame: Pixels, rows: Rows) -> Pixels:
    """What mp.solutions found, drawn by hand."""
    picture = frame.copy()
    height, width = frame.shape[:2]
    for row in rows:
        left, top, wide, high = row[:4] * [width, height, width, height]
        corner = int(left + wide), int(top + high)
        cv2.rectangle(picture, (int(left), int(top)), corner, (255, 60, 20), 3)
        for x, y in row[KEYPOINTS].reshape(-1, 2):
            cv2.circle(picture, (int(x * width), int(y * height)), 3, (255, 60, 20), -1)
    return picture


def main(arguments: Sequence[str]) -> int:
    """Prints, and makes a picture."""
    with tempfile.TemporaryDirectory() as folder:
        repository.add_graph(Path(folder), GRAPH)
        with serving(Path(folder)) as catalog:
            for name, frames in material().items():
                mine, annotated = served(catalog, frames)
                theirs = solved(frames)
                found = distance(mine, theirs, frames)
                sys.stdout.write(f"{name}: {found}\n")
                if arguments and name == "photographs":
                    native = drawn(frames[0], theirs[0])
                    sides = np.concatenate([native, annotated[0]], axis=1)
                    picture = cv2.cvtColor(sides, cv2.COLOR_RGB2BGR)
                    cv2.imwrite(arguments[0], picture, [cv2.IMWRITE_WEBP_QUALITY, 80])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

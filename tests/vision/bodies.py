"""Frames through the graphs `hands`, `pose` and `holistic` and through mp.solutions, and
how far apart what they find is.

    python -m tests.vision.bodies FOLDER

prints the figures of docs/accuracy.md, and puts its pictures into the folder.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from graphs import assets, repository
from ovms_mp.servable.catalog import Catalog
from tests.differential.oracle import interpreter
from tests.graphs.in_process import clip, rgb, serving
from tests.vision.faces import Pixels
from tests.vision.streamed import streamed

_CHILD = Path(__file__).with_name("body_solutions_child.py")
# What mp.solutions takes for the time between two frames, in microseconds.
EVERY = 33_333

Found = Sequence[Mapping[str, Any]]
"""For each frame what was found, by name; what is not there was not found."""


def served(catalog: Catalog, graph: str, frames: Sequence[Pixels]) -> Found:
    """What a graph finds in one stream."""
    return streamed(catalog, graph, frames, every=EVERY)


def solved(
    solution: str, frames: Sequence[Pixels], options: Mapping[str, Any] | None = None
) -> Found:
    """What one of mp.solutions finds, by the same frames."""
    python = interpreter()
    assert python is not None
    with tempfile.TemporaryDirectory() as folder:
        given, answers = Path(folder, "frames.npz"), Path(folder, "answers.npz")
        named: dict[str, Any] = {f"{at:05}": each for at, each in enumerate(frames)}
        np.savez(given, **named)
        told = [solution, json.dumps(options or {}), str(given), str(answers)]
        command = [str(python), str(_CHILD), *told]
        subprocess.run(command, check=True, capture_output=True, timeout=550)
        with np.load(answers) as archive:
            found: list[dict[str, Any]] = [{} for _ in frames]
            for key in archive.files:
                frame, _, thing = key.partition("/")
                found[int(frame)][thing] = archive[key]
    return found


@dataclass(frozen=True)
class Distance:
    """Of one thing; errors of its landmarks as parts of the image's diagonal."""

    frames: int
    found: int
    """How many of it mp.solutions finds, over all frames."""
    different: int
    """Frames in which one finds more or fewer than the other."""
    mean: float
    p99: float
    visibility: float
    """The largest difference."""


def distance(
    name: str, mine: Found, theirs: Found, frames: Sequence[Pixels]
) -> Distance:
    """Of the landmarks called `name`; several are paired by their order."""
    errors: list[Any] = [np.empty(0)]
    visibility = [0.0]
    found = different = 0
    for one, other, frame in zip(mine, theirs, frames, strict=True):
        a, b = lists(one.get(name)), lists(other.get(name))
        found += len(b)
        if len(a) != len(b):
            different += 1
            continue
        size = np.array([frame.shape[1], frame.shape[0]], float)
        apart = (a[..., :2] - b[..., :2]) * size
        errors.append(np.hypot(apart[..., 0], apart[..., 1]).ravel() / np.hypot(*size))
        visibility += np.abs(a[..., 3] - b[..., 3]).ravel().tolist()
    every = np.concatenate(errors)
    return Distance(
        frames=len(frames),
        found=found,
        different=different,
        mean=float(every.mean()) if len(every) else 0.0,
        p99=float(np.percentile(every, 99)) if len(every) else 0.0,
        visibility=max(visibility),
    )


def unlike(name: str, mine: Found, those: Sequence[Found]) -> int:
    """Frames in which there are as many of it as in none of those."""
    several = [[len(lists(each.get(name))) for each in one] for one in those]
    found = [len(lists(each.get(name))) for each in mine]
    ways = zip(*several, strict=True)
    return sum(count not in way for count, way in zip(found, ways, strict=True))


def lists(landmarks: Any) -> Any:
    """[things, landmarks, numbers] of some, of one, or of none."""
    if landmarks is None or not len(landmarks):
        return np.empty((0, 0, 5), np.float32)
    return landmarks if landmarks.ndim == 3 else landmarks[None]


@dataclass(frozen=True)
class Material:
    """Frames that are one video. Where it `trembles`, landmarks depend so much on the
    last digits, which are not those of another processor, that mp.solutions is no nearer
    to itself (see `disturbed`).
    """

    name: str
    frames: list[Pixels]
    trembles: bool = False


def material(solution: str) -> list[Material]:
    """Photographs, each of which is a video of three frames of it, and clips."""
    cup = video("cup.mp4.gz", 0, 217, step=3)
    if solution == "hands":
        box = video("box.mp4.gz", 0, 455, step=8)
        return [Material("cup.mp4", cup), Material("box.mp4", box, trembles=True)]
    astronaut = picture("astronaut.png")
    photographs = {
        "astronaut": astronaut,
        "astronaut, mirrored": np.ascontiguousarray(astronaut[:, ::-1]),
        "footballer": picture("messi5.jpg"),
        "players": picture("basketball1.png"),
        "coffee": picture("coffee.png"),
    }
    several = [Material(name, [each] * 3) for name, each in photographs.items()]
    face = clip(assets.fetch("carphone.mp4"), 0, 40)
    return [Material("carphone.mp4", face), *several]


def disturbed(frames: Sequence[Pixels], seed: int = 0) -> list[Pixels]:
    """The same but for one of fifty values, which is one step more or less."""
    random = np.random.default_rng(seed)
    found: list[Pixels] = []
    for frame in frames:
        steps = random.integers(-1, 2, frame.shape) * (
            random.random(frame.shape) < 0.03
        )
        found.append(np.clip(frame + steps, 0, 255).astype(np.uint8))
    return found


def picture(name: str) -> Pixels:
    """A photograph of assets.toml."""
    read = cv2.imread(str(assets.fetch(name)))
    assert read is not None
    return rgb(read).astype(np.uint8)


def video(name: str, first: int, count: int, step: int = 1) -> list[Pixels]:
    """Frames of a clip that is compressed once more."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "clip.mp4")
        file.write_bytes(gzip.decompress(assets.fetch(name).read_bytes()))
        return clip(file, first, count)[::step]


GRAPHS: Mapping[str, tuple[str, ...]] = {
    "hands": ("hands", "hands_in_metres"),
    "pose": ("body", "body_in_metres"),
    "holistic": ("body", "left_hand", "right_hand", "face"),
}
"""The graphs, and which landmarks of theirs mp.solutions has, too."""


def in_pixels(names: Sequence[str]) -> list[str]:
    """Those that are in the image."""
    return [each for each in names if not each.endswith("in_metres")]


def drawn(frame: Pixels, found: Mapping[str, Any], names: Sequence[str]) -> Pixels:
    """What mp.solutions found, as dots."""
    picture = frame.copy()
    height, width = frame.shape[:2]
    for name in in_pixels(names):
        for x, y, *_ in lists(found.get(name)).reshape(-1, 4).tolist():
            at = int(x * width), int(y * height)
            cv2.circle(picture, at, 2, (255, 60, 20), -1)
    return picture


def side_by_side(
    name: str, frames: Sequence[Pixels], mine: Found, theirs: Found, folder: Path
) -> None:
    """The frame in the middle: on the left dots, on the right what the graph drew."""
    at = len(frames) // 2
    left = drawn(frames[at], theirs[at], GRAPHS[name.partition("_")[0]])
    both = np.concatenate([left, mine[at]["annotated"]], axis=1)
    file = folder / f"{name}.webp"
    bgr = cv2.cvtColor(both, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(file), bgr, [cv2.IMWRITE_WEBP_QUALITY, 75])


def main(arguments: Sequence[str]) -> int:
    """Prints, and makes pictures."""
    folder = Path(arguments[0])
    for graph in arguments[1:] or GRAPHS:
        with tempfile.TemporaryDirectory() as home:
            repository.add_graph(Path(home), graph)
            with serving(Path(home)) as catalog:
                for number, each in enumerate(material(graph)):
                    mine = served(catalog, graph, each.frames)
                    theirs = solved(graph, each.frames)
                    again = solved(graph, disturbed(each.frames))
                    for name in in_pixels(GRAPHS[graph]):
                        found = distance(name, mine, theirs, each.frames)
                        itself = distance(name, again, theirs, each.frames)
                        said = f"{graph} {each.name} {name}: {found} itself {itself}\n"
                        sys.stdout.write(said)
                    file = f"{graph}_{number}"
                    side_by_side(file, each.frames, mine, theirs, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

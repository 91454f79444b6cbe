"""Laws of the graph of four cameras, by tritonclient, on parts of a real clip: each camera
is followed by itself, and all of them are on one wall.
"""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton
from numpy.typing import NDArray
from ovms_mp_calculators.frame_to_tensor import letterboxed

from graphs import assets
from graphs.cameras import watch
from graphs.cameras.calculators.video_wall import PATIENCE, TILE
from tests.graphs.in_process import Pixels, clip
from tests.graphs.over_the_wire import serving
from tests.wire.servers import Server

pytestmark = pytest.mark.timeout(300)

GRAPH = "cameras"
ANSWERS_WITHIN = 120.0  # seconds
STEP = 40_000  # microseconds between frames
FRAMES = 12
CAMERAS = range(4)
WIDTH, HEIGHT = TILE

Tracks = NDArray[np.float32]
Moment = Mapping[int, Pixels]
"""Frames of some cameras, by their number, at one time."""


@dataclass
class Seen:
    """What came back, by time."""

    walls: dict[int, Pixels] = field(default_factory=dict[int, Pixels])
    people: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    tracks: dict[int, dict[int, Tracks]] = field(
        default_factory=dict[int, dict[int, Tracks]]
    )
    refused: list[str] = field(default_factory=list[str])


class Viewer:
    """A stream of tritonclient's."""

    def __init__(self, address: str) -> None:
        self._answers: queue.Queue[Any] = queue.Queue()
        self._client = triton.InferenceServerClient(address)
        self._client.start_stream(
            lambda result, error: self._answers.put(error or result)
        )
        self.seen = Seen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.stop_stream(cancel_requests=True)
        self._client.close()

    def send(self, at: int, moment: Moment, **parameters: Any) -> None:
        inputs: list[triton.InferInput] = []
        for camera, frame in moment.items():
            tensor = triton.InferInput(f"camera_{camera}", [*frame.shape], "UINT8")
            inputs.append(tensor.set_data_from_numpy(frame))
        parameters = {"OVMS_MP_TIMESTAMP": at, **parameters}
        self._client.async_stream_infer(
            GRAPH, inputs, request_id=str(at), parameters=parameters
        )

    def take(self) -> None:
        """The next answer."""
        answer = self._answers.get(timeout=ANSWERS_WITHIN)
        if isinstance(answer, Exception):
            self.seen.refused.append(str(answer))
            return
        response = answer.get_response()
        at = response.parameters["OVMS_MP_TIMESTAMP"].int64_param
        for output in response.outputs:
            array = answer.as_numpy(output.name)
            if output.name == "wall":
                self.seen.walls[at] = array
            elif output.name == "people":
                self.seen.people[at] = array.tolist()
            else:
                camera = int(output.name.removeprefix("tracks_"))
                self.seen.tracks.setdefault(camera, {})[at] = array


def show(server: Server, moments: Iterable[Moment]) -> Seen:
    """What comes of them, which is a wall for each."""
    with Viewer(server.address) as viewer:
        times: list[int] = []
        for number, moment in enumerate(moments):
            times.append(number * STEP)
            viewer.send(times[-1], moment)
        frames = len(times)
        cameras = len({camera for moment in moments for camera in moment})
        while not (
            len(viewer.seen.people) == len(viewer.seen.walls) == frames
            and sum(map(len, viewer.seen.tracks.values())) == cameras * frames
        ):
            viewer.take()
    return viewer.seen


@pytest.fixture(scope="module")
def moments() -> list[Moment]:
    """Frames 150 to 161 of people who cross a place, as four cameras see them."""
    try:
        path = assets.fetch(watch.CLIP)
    except assets.AssetUnavailable as error:
        pytest.skip(str(error))
    return [
        {
            camera: np.ascontiguousarray(frame[top : top + height, left : left + width])
            for camera, (left, top, width, height) in enumerate(watch.PARTS)
        }
        for frame in clip(path, watch.FIRST_FRAME, FRAMES)
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("cameras"), GRAPH) as server:
        yield server


@pytest.fixture(scope="module")
def seen(server: Server, moments: list[Moment]) -> Seen:
    return show(server, moments)


def test_every_moment_is_on_one_wall(seen: Seen, moments: list[Moment]):
    times = [number * STEP for number in range(FRAMES)]
    assert list(seen.walls) == times
    for at, moment in zip(times, moments, strict=True):
        wall = seen.walls[at]
        assert wall.shape == (2 * HEIGHT, 2 * WIDTH, 3)
        for camera, frame in moment.items():
            top, left = camera // 2 * HEIGHT, camera % 2 * WIDTH
            place = wall[top : top + HEIGHT, left : left + WIDTH]
            is_drawn = (place != letterboxed(frame, *TILE)).any(axis=2)
            # Boxes, their numbers, a line around all of it, and the caption.
            assert 0.02 < is_drawn.mean() < 0.25


def test_people_are_counted_where_they_are(seen: Seen):
    for at, people in seen.people.items():
        assert people == [len(seen.tracks[camera][at]) for camera in CAMERAS]
    mean = np.mean(list(seen.people.values()), axis=0)
    assert (mean > 0.5).all()
    assert 6 < mean.sum() < 16


def test_each_camera_has_the_people_that_it_has_alone(
    server: Server, seen: Seen, moments: list[Moment]
):
    """To the last bit, at whichever input it is, and counted from 1."""
    for camera, other in ((0, 3), (3, 0)):
        with Viewer(server.address) as viewer:
            for number, moment in enumerate(moments):
                viewer.send(number * STEP, {other: moment[camera]})
            while len(viewer.seen.tracks.get(other, ())) < FRAMES:
                viewer.take()
        alone, together = viewer.seen.tracks[other], seen.tracks[camera]
        assert list(alone) == list(together)
        for at, tracks in together.items():
            np.testing.assert_array_equal(alone[at], tracks)
        assert min(id_ for tracks in alone.values() for id_ in tracks[:, 6]) == 1


@pytest.mark.parametrize(
    ("camera", "path"),
    [
        # The striped pullover, to the left, seen by two cameras at a time.
        (2, [(150, 359, 193), (155, 315, 187), (161, 260, 176)]),
        (3, [(150, 236, 193), (155, 190, 187), (161, 139, 172)]),
    ],
)
def test_who_walks_keeps_a_number_in_each_camera(
    seen: Seen, camera: int, path: list[tuple[int, int, int]]
):
    numbers: set[int] = set()
    for frame, x, y in path:
        tracks = seen.tracks[camera][(frame - watch.FIRST_FRAME) * STEP]
        middles = (tracks[:, :2] + tracks[:, 2:4]) / 2 * watch.PARTS[camera][2:]
        away = np.abs(middles - (x, y)).max(axis=1)
        assert away.min() <= 15, f"nobody at {x}, {y} in frame {frame}"
        numbers.add(int(tracks[away.argmin(), 6]))
    assert len(numbers) == 1


def test_a_camera_that_stops_stops_nobody(server: Server):
    """Walls come while the stream goes on, without it."""
    grass = np.full((48, 64, 3), (40, 120, 40), np.uint8)
    after = PATIENCE + 3
    with Viewer(server.address) as viewer:
        viewer.send(0, {0: grass, 1: grass, 2: grass})
        for at in range(1, after):
            viewer.send(at, {0: grass, 1: grass})
        while len(viewer.seen.people) < after:
            viewer.take()
    people = viewer.seen.people
    # Camera 3 has never had a picture, camera 2 one.
    assert people[0] == [0, 0, 0, -1]
    assert [people[at] for at in range(1, after)] == [[0, 0, -1, -1]] * (after - 1)
    assert viewer.seen.refused == []


def test_of_live_video_the_oldest_goes(server: Server):
    """What is answered is in order, what is not is refused, and the last is answered."""
    grass = np.full((48, 64, 3), (40, 120, 40), np.uint8)
    live = {"OVMS_MP_OVERFLOW": "drop_oldest", "OVMS_MP_WINDOW": 1}
    frames = 40
    with Viewer(server.address) as viewer:
        for at in range(frames):
            viewer.send(at, {0: grass}, **live)
        tracks = viewer.seen.tracks.setdefault(0, {})
        while len(tracks) + len(viewer.seen.refused) < frames:
            viewer.take()
    assert list(tracks) == sorted(tracks)
    assert max(tracks) == frames - 1
    assert viewer.seen.refused


def test_a_script_watches_and_keeps_the_fullest_wall(
    server: Server, moments: list[Moment], tmp_path: Path, capsys: Any
):
    """Of two cameras, which are files."""
    for camera in range(2):
        height, width, _ = moments[0][camera].shape
        codec = cv2.VideoWriter.fourcc(*"MJPG")
        file = str(tmp_path / f"{camera}.avi")
        writer = cv2.VideoWriter(file, codec, 10, (width, height))
        for moment in moments[:8]:
            writer.write(cv2.cvtColor(moment[camera], cv2.COLOR_RGB2BGR))
        writer.release()
    sources = [str(tmp_path / f"{camera}.avi") for camera in range(2)]
    picture, video = tmp_path / "wall.png", tmp_path / "wall.avi"
    kept = ["--picture", str(picture), "--video", str(video)]
    assert watch.main([server.address, *sources, "--speed", "0", *kept]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in said] == [
        "camera 0  8 frames",
        "camera 1  8 frames",
        "wall      8 pictures",
    ]
    wall = cv2.imread(str(picture))
    assert wall is not None
    assert wall.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert wall[HEIGHT // 2, WIDTH // 2].any() and not wall[-HEIGHT // 2, 20].any()
    assert len(clip(video, 0, 8)) == 8


def test_the_script_says_what_is_wrong(server: Server, capsys: Any):
    assert watch.main([server.address, "nowhere.mp4"]) == 1
    assert "cannot open nowhere.mp4" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        watch.main([server.address, *"01234"])
    assert "the graph has 4 cameras" in capsys.readouterr().err

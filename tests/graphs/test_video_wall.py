"""Laws of the wall of several cameras: it waits for those who are there."""

from __future__ import annotations

import numpy as np
import pytest

from graphs.cameras.calculators.video_wall import PATIENCE, VideoWallCalculator
from ovms_mp.core.errors import ServingError
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.graph.runner import CalculatorRunner

SETS = """
  input_stream_handler {
    input_stream_handler: "SyncSetInputStreamHandler"
    options {
      [mediapipe.SyncSetInputStreamHandlerOptions.ext] {
        sync_set { tag_index: ["IMAGE:0", "TRACKS:0"] }
        sync_set { tag_index: ["IMAGE:1", "TRACKS:1"] }
      }
    }
  }
"""
NODE = """
  calculator: "VideoWallCalculator"
  input_stream: "IMAGE:0:door"
  input_stream: "IMAGE:1:yard"
  input_stream: "TRACKS:0:door_tracks"
  input_stream: "TRACKS:1:yard_tracks"
  output_stream: "IMAGE:wall"
  output_stream: "PEOPLE:people"
"""


@pytest.fixture
def run() -> CalculatorRunner:
    return CalculatorRunner(VideoWallCalculator, NODE + SETS)


def show(run: CalculatorRunner, camera: str, at: int, people: int = 0) -> None:
    """A picture as bright as its time."""
    pixels = np.full((30, 40, 3), at, np.uint8)
    run.feed(camera, ImageFrame(ImageFormat.SRGB, pixels), at=at)
    run.feed(f"{camera}_tracks", np.zeros((people, 7), np.float32), at=at)


def people(run: CalculatorRunner) -> list[tuple[int, list[int]]]:
    """When there was a wall, and how many people were on it."""
    assert run.error is None
    return [(each.timestamp, each.payload.tolist()) for each in run.outputs["people"]]


def brightness(run: CalculatorRunner) -> list[list[int]]:
    """Of both places, at each wall."""
    walls = [each.payload.pixels for each in run.outputs["wall"]]
    assert {wall.shape for wall in walls} == {(360, 960, 3)}
    return [[int(wall[180, 240, 0]), int(wall[180, 720, 0])] for wall in walls]


def test_a_wall_has_the_pictures_of_one_time_whoever_is_first(run: CalculatorRunner):
    show(run, "door", 10, people=2)
    assert people(run) == []
    show(run, "yard", 10, people=1)
    show(run, "yard", 20, people=3)
    assert people(run) == [(10, [2, 1])]
    show(run, "door", 20)
    assert people(run) == [(10, [2, 1]), (20, [0, 3])]
    assert brightness(run) == [[10, 10], [20, 20]]


def test_a_slower_camera_keeps_its_picture(run: CalculatorRunner):
    show(run, "yard", 10, people=1)
    for at in (10, 20, 30):
        show(run, "door", at)
    show(run, "yard", 30, people=2)
    assert people(run) == [(10, [0, 1]), (20, [0, 1]), (30, [0, 2])]
    assert brightness(run) == [[10, 10], [20, 10], [30, 30]]


def test_nobody_waits_for_a_camera_that_has_stopped(run: CalculatorRunner):
    show(run, "yard", 30, people=1)
    show(run, "door", 30)
    for number in range(1, PATIENCE + 1):
        show(run, "door", 30 + number)
    assert people(run) == [(30, [0, 1])]
    show(run, "door", 30 + PATIENCE + 1)
    # Once it is out, walls come as pictures do, and what it showed is dark.
    show(run, "door", 30 + PATIENCE + 2)
    assert people(run)[1:] == [(31 + each, [0, -1]) for each in range(PATIENCE + 2)]
    assert [dark for _, dark in brightness(run)] == [30] + [10] * (PATIENCE + 2)


def test_a_camera_that_comes_back_is_waited_for_again(run: CalculatorRunner):
    for at in range(1, PATIENCE + 2):
        show(run, "door", at)
    assert people(run)[-1] == (PATIENCE + 1, [0, -1])
    show(run, "yard", PATIENCE + 2, people=4)
    show(run, "door", PATIENCE + 2)
    assert people(run)[-1] == (PATIENCE + 2, [0, 4])
    show(run, "door", PATIENCE + 3)
    assert people(run)[-1] == (PATIENCE + 2, [0, 4])
    show(run, "yard", PATIENCE + 3, people=5)
    assert people(run)[-1] == (PATIENCE + 3, [0, 5])


def test_a_picture_that_is_late_is_on_the_next_wall(run: CalculatorRunner):
    for at in range(10, 11 + PATIENCE):
        show(run, "door", at)
    show(run, "yard", 12, people=7)
    show(run, "door", 90)
    assert people(run)[-1] == (90, [0, -1])
    assert brightness(run)[-1] == [90, 12 // 3]


def test_at_the_end_what_waits_is_shown(run: CalculatorRunner):
    show(run, "door", 10)
    show(run, "yard", 10)
    show(run, "door", 20, people=2)
    show(run, "door", 30, people=3)
    run.close()
    assert [at for at, _ in people(run)] == [10, 20, 30]


def test_pictures_that_wait_are_few(run: CalculatorRunner):
    """However fast one camera is, and the others silent."""
    for at in range(100):
        show(run, "door", at)
        assert at + 1 - len(people(run)) <= PATIENCE


def test_a_frame_that_is_not_in_colour_is_told(run: CalculatorRunner):
    run.feed("door", ImageFrame(ImageFormat.GRAY8, np.zeros((4, 4, 1), np.uint8)), at=0)
    run.feed("door_tracks", np.zeros((0, 7), np.float32), at=0)
    assert run.error is not None
    assert "frames are SRGB, not GRAY8" in str(run.error)


def test_each_camera_needs_its_tracks():
    with pytest.raises(
        ServingError, match="2 IMAGE streams need as many TRACKS, not 1"
    ):
        CalculatorRunner(
            VideoWallCalculator,
            NODE.replace('input_stream: "TRACKS:1:yard_tracks"', ""),
        )

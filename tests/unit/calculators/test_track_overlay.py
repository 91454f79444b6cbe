"""Laws of TrackOverlayCalculator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ovms_mp_calculators import track_overlay
from ovms_mp_calculators.track_overlay import (
    Style,
    TrackOverlayCalculator,
    colour_of,
    draw_tracks,
)

from ovms_mp.core.errors import ServingError
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.graph.runner import CalculatorRunner
from tests.unit.calculators.documented import node_of

Pixels = NDArray[np.uint8]

NOBODY = np.empty((0, 7), np.float32)


def grey(height: int = 120, width: int = 200) -> Pixels:
    pixels = np.full((height, width, 3), 90, np.uint8)
    pixels.flags.writeable = False
    return pixels


def tracks(*rows: tuple[float, float, float, float, int]) -> NDArray[np.float32]:
    """Boxes and ids."""
    full = [(*row[:4], 0.9, 1, row[4]) for row in rows]
    return np.array(full, np.float32).reshape(-1, 7)


def drawn(rows: NDArray[Any], style: Style | None = None) -> Pixels:
    return draw_tracks(grey(), rows, style or Style())


def changed(pixels: Pixels) -> NDArray[np.bool_]:
    return (pixels != grey()).any(axis=2)


def test_a_box_is_where_the_track_says_in_the_colour_of_its_id():
    pixels = drawn(tracks((0.25, 0.5, 0.75, 0.9, 7)), Style(line_thickness=1))
    left, top, right, bottom = 50, 60, 150, 108
    for y, x in ((top, 100), (bottom, 100), (80, left), (80, right)):
        assert tuple(pixels[y, x]) == colour_of(7)
    inside = changed(pixels)[top + 1 : bottom, left + 1 : right]
    assert not inside.any()
    assert not changed(pixels)[bottom + 1 :].any()


def test_a_thicker_line_colours_more():
    box = tracks((0.25, 0.5, 0.75, 0.9, 7))
    thin, thick = (changed(drawn(box, Style(each))).sum() for each in (1, 4))
    assert thick > 2 * thin


def test_the_label_stands_above_the_box_on_the_tracks_colour():
    pixels = drawn(tracks((0.25, 0.5, 0.75, 0.9, 7)))
    above = pixels[40:59, 50:60]
    is_background = (above == colour_of(7)).all(axis=2)
    assert is_background.sum() > 50
    assert not is_background.all()  # the number itself


def test_a_label_makes_the_text_longer():
    box = tracks((0.25, 0.5, 0.75, 0.9, 7))
    short, long = (
        changed(drawn(box, Style(label=each)))[40:58].any(axis=0).sum()
        for each in ("", "person")
    )
    assert long > short + 30


def luma(pixels: NDArray[Any]) -> NDArray[np.float64]:
    return pixels @ np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize("track_id", range(1, 21))
def test_the_text_stands_out_from_its_colour(track_id: int):
    large = np.full((800, 1200, 3), 90, np.uint8)
    pixels = draw_tracks(large, tracks((0.2, 0.5, 0.8, 0.9, track_id)), Style())
    label = pixels[375:395, 242:258]
    contrast = np.abs(luma(label) - luma(np.array(colour_of(track_id))))
    assert contrast.max() > 110


def test_different_ids_are_labelled_differently():
    box = (0.25, 0.5, 0.75, 0.9)
    masks = [changed(drawn(tracks((*box, each)))) for each in (1, 10001)]
    assert masks[0].sum() < masks[1].sum()


@pytest.mark.parametrize(
    "box",
    [
        (0.0, 0.0, 0.5, 0.5),
        (0.9, 0.0, 1.0, 0.3),
        (-0.5, -0.5, 1.5, 1.5),
        (-3e38, -3e38, 3e38, 3e38),
        (0.99, 0.99, 1.0, 1.0),
    ],
)
def test_a_label_is_inside_the_frame_wherever_the_box_is(
    box: tuple[float, float, float, float],
):
    uncut = written(drawn(tracks((0.2, 0.5, 0.8, 0.9, 88))))
    assert written(drawn(tracks((*box, 88)))) == uncut > 0


def written(pixels: Pixels) -> int:
    """Pixels of the text: neither the frame's nor the track's colour."""
    return int((changed(pixels) & (pixels != colour_of(88)).any(axis=2)).sum())


def test_a_row_that_is_not_finite_is_not_drawn():
    assert not changed(drawn(tracks((np.nan, 0.1, 0.5, 0.5, 1)))).any()
    assert not changed(drawn(tracks((0.1, 0.1, np.inf, 0.5, 1)))).any()


def test_a_colour_belongs_to_an_id_and_neighbours_differ():
    colours = [colour_of(each) for each in range(1, 13)]
    assert colours == [colour_of(each) for each in range(1, 13)]
    for place, first in enumerate(colours):
        for second in colours[place + 1 :]:
            difference = np.abs(np.array(first) - np.array(second)).max()
            assert difference > 40


@pytest.mark.parametrize("shape", [(7,), (1, 6), (1, 8)])
def test_tracks_of_another_shape_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"shape \[M, 7\], not \["):
        drawn(np.zeros(shape, np.float32))


def run(options: str = "") -> CalculatorRunner:
    kind = "type.googleapis.com/ovms_mp.TrackOverlayCalculatorOptions"
    node = (
        'calculator: "TrackOverlayCalculator" '
        'input_stream: "IMAGE:frame" input_stream: "TRACKS:tracks" '
        'output_stream: "IMAGE:annotated" '
        f"node_options {{ [{kind}] {{ {options} }} }}"
    )
    return CalculatorRunner(TrackOverlayCalculator, node)


def srgb(pixels: Pixels) -> ImageFrame:
    return ImageFrame(ImageFormat.SRGB, pixels)


@pytest.mark.parametrize("label", ["person", ""])
def test_the_node_draws_what_its_options_say(label: str):
    box = tracks((0.25, 0.5, 0.75, 0.9, 7))
    runner = run(f'line_thickness: 3 label: "{label}"')
    runner.feed("frame", srgb(grey()), at=5)
    runner.feed("tracks", box, at=5)
    ((at, frame),) = runner.outputs["annotated"]
    assert at == 5
    assert frame.format is ImageFormat.SRGB
    assert np.array_equal(frame.pixels, drawn(box, Style(3, label)))


def test_the_documented_node_draws():
    runner = CalculatorRunner(TrackOverlayCalculator, node_of(track_overlay))
    runner.feed("frame", srgb(grey()), at=0)
    runner.feed("tracks", tracks((0.25, 0.5, 0.75, 0.9, 7)), at=0)
    ((_, frame),) = runner.outputs["annotated"]
    assert changed(frame.pixels).any()


def test_the_frame_that_came_in_is_not_drawn_on():
    pixels = np.full((120, 200, 3), 90, np.uint8)
    runner = run()
    runner.feed("frame", srgb(pixels), at=0)
    runner.feed("tracks", tracks((0.25, 0.5, 0.75, 0.9, 7)), at=0)
    ((_, frame),) = runner.outputs["annotated"]
    assert not np.shares_memory(frame.pixels, pixels)
    assert (pixels == 90).all()


def test_a_frame_without_people_goes_out_as_it_looked():
    runner = run()
    runner.feed("frame", srgb(grey()), at=0)
    runner.feed("tracks", NOBODY, at=0)
    ((_, frame),) = runner.outputs["annotated"]
    assert np.array_equal(frame.pixels, grey())


def test_a_frame_without_tracks_at_its_time_goes_out_as_it_came():
    runner = run()
    frame = srgb(grey())
    runner.feed("frame", frame, at=0)
    runner.feed("tracks", tracks((0.1, 0.1, 0.2, 0.2, 1)), at=1)
    runner.close()
    assert runner.outputs["annotated"] == [(0, frame)]
    assert runner.error is None


def test_a_frame_that_is_not_srgb_fails_the_run_and_says_so():
    runner = run()
    grey_frame = ImageFrame(ImageFormat.GRAY8, np.zeros((4, 4, 1), np.uint8))
    runner.feed("frame", grey_frame, at=0)
    runner.feed("tracks", NOBODY, at=0)
    assert runner.error is not None
    assert "frames are SRGB, not GRAY8" in runner.error.text


@pytest.mark.parametrize("thickness", [0, -1, 256])
def test_a_line_that_cannot_be_drawn_is_refused_at_load(thickness: int):
    with pytest.raises(ServingError) as refusal:
        run(f"line_thickness: {thickness}")
    text = refusal.value.text
    assert f"line_thickness is between 1 and 255, not {thickness}" in text

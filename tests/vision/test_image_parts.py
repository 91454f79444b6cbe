"""Parts of images: cut out, warped and scaled."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ovms_mp.core.errors import ServingError
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.formats.rect import NormalizedRect, Rect
from tests.vision.both import NativeGraphs, image, ours

pytestmark = pytest.mark.timeout(600)

checked = settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
sides = st.tuples(st.integers(1, 64), st.integers(1, 64))


def ramp(height: int, width: int, channels: int = 3, seed: int = 0) -> ImageFrame:
    """Noise over a ramp, so that wrong places and wrong scales both show."""
    rng = np.random.default_rng(seed)
    base = np.linspace(0, 160, height * width).reshape(height, width, 1)
    noise = rng.integers(0, 96, (height, width, channels))
    return image((base + noise).astype(np.uint8))


WARP = """
input_stream: "image" input_stream: "roi" input_stream: "sized"
output_stream: "IMAGE:out"
node {{ calculator: "ImageToTensorCalculator" input_stream: "IMAGE:image"
       input_stream: "NORM_RECT:roi" output_stream: "TENSORS:tensors"
       output_stream: "MATRIX:matrix"
       options {{ [mediapipe.ImageToTensorCalculatorOptions.ext] {{
         output_tensor_width: 8 output_tensor_height: 8
         output_tensor_float_range {{ min: 0 max: 1 }} }} }} }}
node {{ calculator: "ImagePropertiesCalculator" input_stream: "IMAGE_CPU:sized"
       output_stream: "SIZE:size" }}
node {{ calculator: "WarpAffineCalculatorCpu" input_stream: "IMAGE:image"
       input_stream: "MATRIX:matrix" input_stream: "OUTPUT_SIZE:size"
       output_stream: "IMAGE:out"
       options {{ [mediapipe.WarpAffineCalculatorOptions.ext] {{ {options} }} }} }}
"""


@checked
@given(
    shape=sides,
    size=sides,
    channels=st.sampled_from((1, 3, 4)),
    rect=st.builds(
        NormalizedRect,
        st.floats(-0.5, 1.5, width=32),
        st.floats(-0.5, 1.5, width=32),
        st.floats(0.125, 2, width=32),
        st.floats(0.125, 2, width=32),
        st.floats(-4, 4, width=32),
    ),
    border=st.sampled_from(["BORDER_UNSPECIFIED", "BORDER_ZERO", "BORDER_REPLICATE"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_part_is_warped_as_natively(
    native: NativeGraphs,
    *,
    shape: tuple[int, int],
    size: tuple[int, int],
    channels: int,
    rect: NormalizedRect,
    border: str,
    seed: int,
):
    """Differences are those of OpenCV's versions, as for ImageToTensor."""
    pbtxt = WARP.format(options=f"border_mode: {border}")
    events = [
        ("image", ramp(*shape, channels, seed), 0),
        ("roi", rect, 0),
        ("sized", ramp(*size, 1), 0),
    ]
    theirs = native.run(pbtxt, events, {"out": "image"})["out"][0]
    mine = ours(pbtxt, events)["out"][0].pixels
    assert mine.shape == theirs.shape == (*size, channels)
    gap = np.abs(mine.astype(int) - theirs)
    assert np.mean(gap > 1) < 0.02
    assert gap.max() <= 3


@pytest.mark.parametrize(
    ("kind", "mixed"),
    [("INTER_NEAREST", False), ("INTER_LINEAR", True), ("INTER_CUBIC", True)],
)
def test_pixels_of_a_warped_part_are_mixed_or_not(kind: str, mixed: bool):
    """The wheel has no such option yet."""
    pixels = np.zeros((8, 8, 1), np.uint8)
    pixels[:, 4:] = 200
    events = [
        ("image", image(pixels), 0),
        ("roi", NormalizedRect(0.5, 0.5, 1, 1, 0.3), 0),
        ("sized", ramp(33, 21, 1), 0),
    ]
    pbtxt = WARP.format(options=f"interpolation: {kind}")
    found = ours(pbtxt, events)["out"][0].pixels
    assert (len(np.unique(found)) > 2) is mixed
    assert found[16, 0] < 20 and found[16, -1] > 180


BY_HAND = """
input_stream: "image" input_stream: "matrix" input_stream: "size"
output_stream: "IMAGE:out"
node { calculator: "WarpAffineCalculator" input_stream: "IMAGE:image"
       input_stream: "MATRIX:matrix" input_stream: "OUTPUT_SIZE:size"
       output_stream: "IMAGE:out" }
"""


@pytest.mark.parametrize(
    ("matrix", "size", "said"),
    [
        (np.eye(3, dtype=np.float32), (4, 4), "float32 [3, 3] is no matrix"),
        (np.full((4, 4), np.nan, np.float32), (4, 4), "not finite"),
        (np.eye(4, dtype=np.float32), (0, 4), "OUTPUT_SIZE of 0x4"),
        (np.eye(4, dtype=np.float32), (40000, 4), "OUTPUT_SIZE of 40000x4"),
    ],
)
def test_a_matrix_or_a_size_that_is_none_is_told(
    matrix: Any, size: tuple[int, int], said: str
):
    events = [("image", ramp(4, 4), 0), ("matrix", matrix, 0), ("size", size, 0)]
    assert said in str(ours(BY_HAND, events).error)


def test_nothing_is_warped_until_all_is_there():
    events = [("image", ramp(4, 4), 0), ("size", (4, 4), 0)]
    assert ours(BY_HAND, events)["out"] == {}


CROP = """
input_stream: "image" {streams} output_stream: "IMAGE:out"
node {{ calculator: "ImageCroppingCalculator" input_stream: "IMAGE:image" {ports}
       output_stream: "IMAGE:out"
       options {{ [mediapipe.ImageCroppingCalculatorOptions.ext] {{ {options} }} }} }}
"""


def crop(options: str = "", **ports: Any) -> tuple[str, list[Any]]:
    streams = " ".join(f'input_stream: "{name.lower()}"' for name in ports)
    given = " ".join(f'input_stream: "{name}:{name.lower()}"' for name in ports)
    pbtxt = CROP.format(streams=streams, ports=given, options=options)
    return pbtxt, [(name.lower(), value, 0) for name, value in ports.items()]


def cropped(frame: ImageFrame, options: str = "", **ports: Any) -> Any:
    pbtxt, events = crop(options, **ports)
    return ours(pbtxt, [("image", frame, 0), *events])["out"][0].pixels


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_part_that_is_not_turned_has_the_pixels_of_the_image(channels: int):
    frame = ramp(20, 30, channels)
    expected = frame.pixels[3:13, 5:25]
    for part in (
        cropped(frame, RECT=Rect(15, 8, 20, 10)),
        cropped(frame, NORM_RECT=NormalizedRect(0.5, 0.4, 20 / 30, 0.5)),
        cropped(frame, "width: 20 height: 10 norm_center_x: 0.5 norm_center_y: 0.4"),
        cropped(
            frame,
            f"norm_width: {20 / 30} norm_height: 0.5 "
            "norm_center_x: 0.5 norm_center_y: 0.4",
        ),
    ):
        np.testing.assert_array_equal(part, expected)


def test_without_a_place_the_middle_is_cut_out():
    frame = ramp(20, 30)
    np.testing.assert_array_equal(
        cropped(frame, WIDTH=10, HEIGHT=6), frame.pixels[7:13, 10:20]
    )
    # A part of odd sides begins at a whole pixel, too.
    np.testing.assert_array_equal(
        cropped(frame, "width: 5 height: 3"), frame.pixels[9:12, 13:18]
    )


@pytest.mark.parametrize(("turns", "angle"), [(1, np.pi / 2), (2, np.pi)])
def test_a_turned_part_stands_upright(turns: int, angle: float):
    """A rect is turned clockwise; its part counterclockwise by as much."""
    frame = ramp(20, 20)
    part = cropped(frame, RECT=Rect(10, 10, 20, 20, angle))
    np.testing.assert_array_equal(part, np.rot90(frame.pixels, turns))


def test_outside_is_black_or_the_border():
    frame = ramp(4, 4)
    dark = cropped(frame, RECT=Rect(0, 0, 4, 4))
    assert not dark[:2].any() and not dark[:, :2].any()
    np.testing.assert_array_equal(dark[2:, 2:], frame.pixels[:2, :2])
    wide = cropped(frame, "border_mode: BORDER_REPLICATE", RECT=Rect(0, 0, 4, 4))
    assert (wide[:3, :3] == frame.pixels[0, 0]).all()


def test_a_part_that_is_too_large_is_shrunk():
    frame = ramp(40, 60)
    assert cropped(frame, "output_max_width: 30", WIDTH=60, HEIGHT=40).shape == (
        20,
        30,
        3,
    )
    assert cropped(frame, "output_max_height: 50", WIDTH=60, HEIGHT=40).shape == (
        40,
        60,
        3,
    )


def test_a_rect_of_nothing_is_the_whole_and_no_rect_is_none():
    frame = ramp(6, 8)
    np.testing.assert_array_equal(cropped(frame, RECT=Rect()), frame.pixels)
    np.testing.assert_array_equal(
        cropped(frame, NORM_RECT=NormalizedRect()), frame.pixels
    )
    pbtxt, _ = crop(NORM_RECT=NormalizedRect())
    assert ours(pbtxt, [("image", frame, 0)])["out"] == {}


@pytest.mark.parametrize(
    ("frame", "rect", "said"),
    [
        (ramp(4, 4), NormalizedRect(0.5, 0.5, 1e9, 1), "a part of"),
        (ramp(4, 4), NormalizedRect(0.5, np.nan, 1, 1), "not finite"),
        (ramp(4, 4), NormalizedRect(0.5, 0.5, 1, np.inf), "not finite"),
        (ramp(4, 4), NormalizedRect(0.5, 0.5, 1e-9, 1e-9), "a part of 0x0"),
        (image(np.zeros((0, 4, 3), np.uint8)), NormalizedRect(0, 0, 1, 1), "4x0"),
    ],
)
def test_a_part_that_there_is_not_is_told(
    frame: ImageFrame, rect: NormalizedRect, said: str
):
    pbtxt, events = crop(NORM_RECT=rect)
    outcome = ours(pbtxt, [("image", frame, 0), *events])
    assert said in str(outcome.error)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "Illegal combination"),
        ("width: 3 height: 3 norm_width: 1 norm_height: 1", "Illegal combination"),
        ("width: 3 height: 3 border_mode: BORDER_UNSPECIFIED", "border_mode is"),
        ("width: 3 height: 3 output_max_width: 0", "output_max_width is at least 1"),
    ],
)
def test_options_that_name_no_part_are_refused(options: str, said: str):
    with pytest.raises(ServingError, match=said):
        ours(crop(options)[0], [])


SCALE = """
input_stream: "in" output_stream: "IMAGE:out"
node {{ calculator: "ScaleImageCalculator" input_stream: "in" output_stream: "out"
       options {{ [mediapipe.ScaleImageCalculatorOptions.ext] {{ {options} }} }} }}
"""


def scaled(frame: ImageFrame, options: str) -> ImageFrame:
    return ours(SCALE.format(options=options), [("in", frame, 0)])["out"][0]


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        # width, height: as MediaPipe's scale_image_utils works out
        ((100, 80), "target_width: 50", (50, 40)),
        ((100, 80), "target_height: 40", (50, 40)),
        ((100, 80), "target_width: 60 target_height: 30", (36, 30)),
        ((100, 80), "target_width: 31 target_height: 99", (30, 24)),
        ((100, 80), "target_width: 31 target_height: 33 preserve_aspect_ratio: false",
         (30, 32)),
        ((100, 80), "target_width: 31 target_height: 33 preserve_aspect_ratio: false "
         "scale_to_multiple_of: 1", (31, 33)),
        ((100, 81), "", (100, 80)),
        ((100, 80), "target_max_area: 2000", (50, 40)),
        ((100, 20), "", (34, 20)),
        ((20, 100), "", (20, 34)),
        ((100, 20), 'max_aspect_ratio: ""', (100, 20)),
        ((100, 80), "target_width: 200 algorithm: DEFAULT_WITHOUT_UPSCALE", (100, 80)),
        ((100, 80), "target_width: 200", (200, 160)),
        ((3, 2), "target_width: 1", (1, 1)),
    ],
)  # fmt: skip
def test_an_image_has_the_size_that_is_asked_for(
    size: tuple[int, int], options: str, expected: tuple[int, int]
):
    found = scaled(ramp(size[1], size[0]), options)
    assert (found.width, found.height) == expected


def test_sides_that_are_too_wide_are_cut_off_and_the_rest_averaged():
    frame = ramp(40, 100)
    cut = frame.pixels[:, 15:85]
    np.testing.assert_array_equal(scaled(frame, "").pixels, cut)
    np.testing.assert_array_equal(
        scaled(frame, "target_width: 35").pixels,
        cv2.resize(cut, (34, 20), interpolation=cv2.INTER_AREA),
    )


@pytest.mark.parametrize("algorithm", ["DEFAULT", "LINEAR", "CUBIC", "LANCZOS"])
def test_images_are_enlarged_in_linear_light(algorithm: str):
    """A step from black to white has its middle at 188 of sRGB, not at 128."""
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[:, 2:] = 255
    options = f"target_width: 12 target_height: 2 algorithm: {algorithm}"
    found = scaled(image(pixels), f"{options} preserve_aspect_ratio: false").pixels
    assert found[0, :2].max() <= 30 and found[0, -2:].min() >= 240
    middle = (found[0, 5, 0].astype(float) + found[0, 6, 0]) / 2
    assert middle > 150


def test_colours_get_an_alpha_that_is_full():
    found = scaled(ramp(20, 30), "output_format: SRGBA target_width: 14")
    assert found.format is ImageFormat.SRGBA
    assert (found.pixels[..., 3] == 255).all()


def test_alpha_may_be_left_out():
    """Before anything is scaled, so that such images are enlarged, too."""
    frame = ramp(4, 6, 4)
    colours = image(np.ascontiguousarray(frame.pixels[..., :3]))
    for options in ("", "target_width: 12"):
        found = scaled(frame, f"output_format: SRGB {options}")
        assert found.format is ImageFormat.SRGB
        expected = scaled(colours, options)
        np.testing.assert_array_equal(found.pixels, expected.pixels)


@pytest.mark.parametrize(
    ("frame", "options", "said"),
    [
        (ramp(4, 4, 1), "", "GRAY8"),
        (ramp(4, 4, 4), "target_width: 8", "only SRGB images are enlarged"),
        (ramp(4, 4), "input_format: SRGBA", "expected SRGBA"),
        (image(np.zeros((0, 4, 3), np.uint8)), "", "4x0"),
        (ramp(4, 200), 'max_aspect_ratio: "1/100"', "nothing is left"),
    ],
)
def test_an_image_that_is_not_scaled_is_told(
    frame: ImageFrame, options: str, said: str
):
    outcome = ours(SCALE.format(options=options), [("in", frame, 0)])
    assert said in str(outcome.error)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("output_format: YCBCR420P", "output_format is SRGB or SRGBA"),
        ('min_aspect_ratio: "wide"', "is no ratio"),
        ("scale_to_multiple_of: 4", "scale_to_multiple_of is 2"),
        ("target_width: 99999", "too large"),
    ],
)
def test_options_that_make_no_image_are_refused(options: str, said: str):
    with pytest.raises(ServingError, match=said):
        ours(SCALE.format(options=options), [])

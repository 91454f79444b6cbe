"""A frame whose rows and pixels lie scattered in memory, as a part of a larger one or as
one that is turned, is to every calculator what its dense copy is.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest

from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.formats.render_data import (
    Color,
    Oval,
    Rectangle,
    RenderAnnotation,
    RenderData,
)
from tests.vision.both import ours

WHOLE: Final = np.random.default_rng(5).integers(0, 255, (61, 83, 4)).astype(np.uint8)
VIEWS: Final = {
    "of odd rows": WHOLE[3:34, 5:52, :3],
    "of every other": WHOLE[::2, ::2, :3],
    "turned": WHOLE[:, :, :3].swapaxes(0, 1),
    "mirrored": WHOLE[::-1, ::-1, :3],
    "of other colours": WHOLE[:, :, 2::-1],
}
NODES: Final = {
    "ImageToTensorCalculator": (
        "TENSORS",
        "output_tensor_width: 16 output_tensor_height: 20 keep_aspect_ratio: true "
        "output_tensor_float_range { min: 0 max: 1 }",
    ),
    "ImageTransformationCalculator": (
        "IMAGE",
        "output_width: 20 output_height: 30 rotation_mode: ROTATION_90 "
        "flip_horizontally: true scale_mode: FIT",
    ),
    "ImageCroppingCalculator": (
        "IMAGE",
        "norm_width: 0.5 norm_height: 0.4 norm_center_x: 0.4 norm_center_y: 0.5 "
        "rotation: 0.3",
    ),
    "ScaleImageCalculator": ("", "target_width: 20 target_height: 30"),
    "SetAlphaCalculator": ("IMAGE", "alpha_value: 7"),
    "ColorConvertCalculator": ("GRAY_OUT", ""),
    "TensorConverterCalculator": ("TENSORS", "flip_vertically: true"),
    "OpenVINOConverterCalculator": ("TENSORS", ""),
    "TfLiteConverterCalculator": ("TENSORS", "use_quantized_tensors: true"),
    "OpenCvImageEncoderCalculator": ("", "quality: 90"),
    "ImagePropertiesCalculator": ("SIZE", ""),
    "AnnotationOverlayCalculator": ("IMAGE", ""),
}
"""The tag of the output, and options."""
DRAWN: Final = RenderData(
    (
        RenderAnnotation(
            Oval(Rectangle(0.2, 0.3, 0.7, 0.9, normalized=True)), Color(9, 80, 7), 2
        ),
    )
)


def made(calculator: str, frame: ImageFrame) -> Any:
    tag, options = NODES[calculator]
    given = {
        "ScaleImageCalculator": "",
        "OpenCvImageEncoderCalculator": "",
        "ColorConvertCalculator": "RGB_IN:",
    }.get(calculator, "IMAGE:")
    is_overlay = calculator == "AnnotationOverlayCalculator"
    extension = f"[mediapipe.{calculator}Options.ext] {{ {options} }}"
    pbtxt = f"""
      input_stream: "frame" output_stream: "out" input_stream: "drawn"
      node {{ calculator: "{calculator}" input_stream: "{given}frame"
             {'input_stream: "drawn"' if is_overlay else ""}
             output_stream: "{tag}{":" if tag else ""}out"
             {f"options {{ {extension} }}" if options else ""} }}
    """
    (found,) = ours(pbtxt, [("frame", frame, 0), ("drawn", DRAWN, 0)])["out"].values()
    match found:
        case ImageFrame():
            return found.pixels
        case [tensor]:
            return tensor
        case tuple():
            return np.array(found)
        case _:
            return np.frombuffer(found.encoded_image, np.uint8)


@pytest.mark.parametrize("calculator", NODES)
@pytest.mark.parametrize("view", VIEWS)
def test_a_scattered_frame_is_what_its_copy_is(calculator: str, view: str):
    scattered = VIEWS[view]
    assert not scattered.flags.c_contiguous
    found = made(calculator, ImageFrame(ImageFormat.SRGB, scattered))
    dense = ImageFrame(ImageFormat.SRGB, np.ascontiguousarray(scattered))
    expected = made(calculator, dense)
    assert expected.size
    np.testing.assert_array_equal(found, expected)

"""A part of an image, by a matrix: WarpAffineCalculator.

    node {
      calculator: "WarpAffineCalculator"
      input_stream: "IMAGE:image"         # ImageFrame
      input_stream: "MATRIX:matrix"       # [4, 4]: from the result to the image
      input_stream: "OUTPUT_SIZE:size"    # (width, height) of the result
      output_stream: "IMAGE:warped"       # ImageFrame of the same format
      node_options: {
        [type.googleapis.com/mediapipe.WarpAffineCalculatorOptions] {
          border_mode: BORDER_ZERO
        }
      }
    }

As MediaPipe's on a CPU. Both sides of the matrix are fractions of the sizes, as
ImageToTensorCalculator gives them. What lies outside is the border's pixel, or black with
BORDER_ZERO; pixels are mixed as `interpolation` says, bilinear by default. Nothing comes
until all three have. WarpAffineCalculatorCpu is the same; `gpu_origin` has no meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, Input, Options, Output
from ovms_mp.core.image import ImageFrame
from ovms_mp.core.tensor import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ovms_mp.calculator import Context

_OPTIONS: Final = graph.WarpAffineCalculatorOptions
_MAX_SIDE: Final = (1 << 15) - 2
_INTERPOLATIONS: Final = {
    _OPTIONS.INTER_UNSPECIFIED: cv2.INTER_LINEAR,
    _OPTIONS.INTER_LINEAR: cv2.INTER_LINEAR,
    _OPTIONS.INTER_CUBIC: cv2.INTER_CUBIC,
    _OPTIONS.INTER_NEAREST: cv2.INTER_NEAREST,
}


class WarpAffineCalculator(Calculator):
    """Fails for images without pixels, for sizes that no image has, and for what is no
    finite matrix.
    """

    timestamp_offset = 0

    frame = Input(ImageFrame, "IMAGE")
    matrix: Input[Array] = Input(np.ndarray, "MATRIX")
    size: Input[tuple[int, int]] = Input(tuple, "OUTPUT_SIZE")
    warped = Output(ImageFrame, "IMAGE")
    options = Options(_OPTIONS)

    def process(self, ctx: Context) -> None:
        """One image."""
        if not (ctx.has(self.frame) and ctx.has(self.matrix) and ctx.has(self.size)):
            return
        frame = ctx[self.frame]
        width, height = ctx[self.size]
        for what, sides in (
            ("an image", (frame.width, frame.height)),
            ("OUTPUT_SIZE", (width, height)),
        ):
            if not all(0 < side <= _MAX_SIDE for side in sides):
                raise ValueError(
                    f"{what} of {sides[0]}x{sides[1]}; "
                    f"expected 1x1 to {_MAX_SIDE}x{_MAX_SIDE}"
                )
        transform = _in_pixels(ctx[self.matrix], frame, width, height)
        is_zero = self.options.border_mode == _OPTIONS.BORDER_ZERO
        warped = cv2.warpAffine(
            frame.pixels,
            transform,
            (width, height),
            flags=_INTERPOLATIONS[self.options.interpolation] | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT if is_zero else cv2.BORDER_REPLICATE,
        )
        # OpenCV drops the axis of a single channel.
        pixels = warped.reshape(height, width, frame.format.channels)
        ctx.send(self.warped, ImageFrame(frame.format, pixels))


def _in_pixels(
    matrix: Array, frame: ImageFrame, width: int, height: int
) -> NDArray[np.float32]:
    """[2, 3]: from pixels of the result to pixels of the image."""
    if matrix.shape != (4, 4) or matrix.dtype.kind != "f":
        raise ValueError(
            f"{matrix.dtype} {list(matrix.shape)} is no matrix; expected float32 [4, 4]"
        )
    if not np.isfinite(matrix).all():
        raise ValueError("the matrix has values that are not finite")
    given = matrix.astype(np.float32)
    columns = np.array([1 / width, 1 / height, 1], np.float32)
    rows = np.array([[frame.width], [frame.height]], np.float32)
    return rows * given[:2, [0, 1, 3]] * columns

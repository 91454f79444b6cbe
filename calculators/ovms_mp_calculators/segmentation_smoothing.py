"""A mask that does not flicker: SegmentationSmoothingCalculator.

    node {
      calculator: "SegmentationSmoothingCalculator"
      input_stream: "MASK:mask"                   # ImageFrame, VEC32F1
      input_stream: "MASK_PREVIOUS:last_mask"     # what it made of the last one
      output_stream: "MASK_SMOOTHED:smooth"       # ImageFrame, VEC32F1
      node_options: {
        [type.googleapis.com/mediapipe.SegmentationSmoothingCalculatorOptions] {
          combine_with_previous_ratio: 0.7
        }
      }
    }

As MediaPipe's: the less certain a pixel is, the nearer to 0.5, the more of what it was is
mixed into it; `combine_with_previous_ratio` at most. Without a previous mask the mask
leaves as it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, Input, Options, Output
from ovms_mp.core.image import ImageFormat, ImageFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ovms_mp.calculator import Context

_OPTIONS: Final = graph.SegmentationSmoothingCalculatorOptions
# How certain a value p is, by (p - 0.5)^2: MediaPipe's polynomial, highest power first.
_CERTAINTY: Final = np.array(
    [-624.717, 291.309, -57.8051, -0.748699, 5.68842, 0], np.float32
)


class SegmentationSmoothingCalculator(Calculator):
    """Fails for masks of another format than VEC32F1, and for two of different sizes."""

    timestamp_offset = 0

    mask = Input(ImageFrame, "MASK")
    previous = Input(ImageFrame, "MASK_PREVIOUS")
    smoothed = Output(ImageFrame, "MASK_SMOOTHED")
    options = Options(_OPTIONS)

    def open(self, ctx: Context) -> None:
        """How much of the last one."""
        self._ratio = np.float32(self.options.combine_with_previous_ratio)

    def process(self, ctx: Context) -> None:
        """One mask."""
        if not ctx.has(self.mask):
            return
        mask = ctx[self.mask]
        if not ctx.has(self.previous):
            ctx.send(self.smoothed, mask)
            return
        previous = ctx[self.previous]
        for each in (mask, previous):
            if each.format is not ImageFormat.VEC32F1:
                raise ValueError(
                    f"a mask of format {each.format.name}; expected VEC32F1"
                )
        if mask.pixels.shape != previous.pixels.shape:
            raise ValueError(
                f"a mask of {mask.width}x{mask.height} after one of "
                f"{previous.width}x{previous.height}; their size may not change"
            )
        mixed = _mixed(mask.pixels, previous.pixels, self._ratio)
        ctx.send(self.smoothed, ImageFrame(ImageFormat.VEC32F1, mixed))


def _mixed(
    new: NDArray[np.float32], old: NDArray[np.float32], ratio: np.float32
) -> NDArray[np.float32]:
    square = new - np.float32(0.5)
    square *= square
    share = np.full_like(new, _CERTAINTY[0])
    for each in _CERTAINTY[1:]:
        share *= square
        share += each
    np.minimum(share, 1, out=share)
    np.subtract(1, share, out=share)
    share *= ratio
    share *= old - new
    share += new
    return share

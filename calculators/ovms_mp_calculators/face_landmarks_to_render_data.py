"""How a face is drawn: FaceLandmarksToRenderDataCalculator.

    node {
      calculator: "FaceLandmarksToRenderDataCalculator"
      input_stream: "NORM_LANDMARKS:face"         # NormalizedLandmarkList of 468 or 478
      output_stream: "RENDER_DATA:render_data"    # RenderData
      node_options: {
        [type.googleapis.com/mediapipe.LandmarksToRenderDataCalculatorOptions] {
          landmark_color { r: 150 g: 0 b: 0 }
          connection_color { r: 0 g: 150 b: 0 }
          thickness: 2
        }
      }
    }

As MediaPipe's: LandmarksToRenderDataCalculator with the lines of a face, whatever
landmark_connections say: lips, eyes, brows, the oval, and irises where there are some.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from ovms_mp_calculators.landmarks_to_render_data import (
    LandmarksToRenderDataCalculator,
)

if TYPE_CHECKING:
    from ovms_mp.calculator import Context

# fmt: off
_LIPS: Final = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
)
_LEFT: Final = (  # eye, brow, iris
    (33, 7, 163, 144, 145, 153, 154, 155, 133),
    (33, 246, 161, 160, 159, 158, 157, 173, 133),
    (46, 53, 52, 65, 55),
    (70, 63, 105, 66, 107),
    (474, 475, 476, 477, 474),
)
_RIGHT: Final = (
    (263, 249, 390, 373, 374, 380, 381, 382, 362),
    (263, 466, 388, 387, 386, 385, 384, 398, 362),
    (276, 283, 282, 295, 285),
    (300, 293, 334, 296, 336),
    (469, 470, 471, 472, 469),
)
_OVAL: Final = (
    (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378,
     400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54,
     103, 67, 109, 10),
)
# fmt: on
_LINES: Final = [
    ends for path in (*_LIPS, *_LEFT, *_RIGHT, *_OVAL) for ends in pairwise(path)
]


class FaceLandmarksToRenderDataCalculator(LandmarksToRenderDataCalculator):
    """A face has lines of its own."""

    def open(self, ctx: Context) -> None:
        """As of all landmarks, but for the lines."""
        super().open(ctx)
        self._connect(_LINES)

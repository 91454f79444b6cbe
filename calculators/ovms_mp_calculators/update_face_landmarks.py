"""Eyes of a face, as a better model sees them: UpdateFaceLandmarksCalculator.

    node {
      calculator: "UpdateFaceLandmarksCalculator"
      input_stream: "FACE_LANDMARKS:face"          # NormalizedLandmarkList of 468
      input_stream: "NEW_EYE_LANDMARKS:eyes"       # NormalizedLandmarkList of 142
      output_stream: "UPDATED_FACE_LANDMARKS:out"  # NormalizedLandmarkList of 468
    }

As MediaPipe's: 71 landmarks of the left eye and 71 of the right one, as iris_landmark
gives them, take the places that they have in a face. Nothing comes without both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ovms_mp.calculator import Calculator, Input, Output
from ovms_mp.formats.landmark import NormalizedLandmarkList

if TYPE_CHECKING:
    from ovms_mp.calculator import Context
    from ovms_mp.formats.landmark import Floats

_FACE: Final = 468
# fmt: off
_LEFT_EYE: Final = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190,
    226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
    35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245,
    156, 70, 63, 105, 66, 107, 55, 193,
)
_RIGHT_EYE: Final = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398,
    359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414,
    446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413,
    265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465,
    383, 300, 293, 334, 296, 336, 285, 417,
)
# fmt: on
_PLACES: Final = np.array(_LEFT_EYE + _RIGHT_EYE)


class UpdateFaceLandmarksCalculator(Calculator):
    """Fails for other numbers of landmarks."""

    timestamp_offset = 0

    face = Input(NormalizedLandmarkList, "FACE_LANDMARKS")
    eyes = Input(NormalizedLandmarkList, "NEW_EYE_LANDMARKS")
    updated = Output(NormalizedLandmarkList, "UPDATED_FACE_LANDMARKS")

    def process(self, ctx: Context) -> None:
        """One face."""
        if not (ctx.has(self.face) and ctx.has(self.eyes)):
            return
        face, eyes = ctx[self.face], ctx[self.eyes]
        for what, found, expected in (
            ("face", len(face), _FACE),
            ("eye", len(eyes), len(_PLACES)),
        ):
            if found != expected:
                raise ValueError(f"{found} {what} landmarks; expected {expected}")
        points = face.points.copy()
        points[_PLACES] = eyes.points
        visibility = _replaced(face.visibility, eyes.visibility)
        updated = NormalizedLandmarkList(points, visibility, face.presence)
        ctx.send(self.updated, updated)


def _replaced(face: Floats | None, eyes: Floats | None) -> Floats | None:
    """Values of the face with those of its eyes; 0 where they are not known."""
    if face is None and eyes is None:
        return None
    values = np.zeros(_FACE, np.float32) if face is None else face.copy()
    values[_PLACES] = 0 if eyes is None else eyes
    return values

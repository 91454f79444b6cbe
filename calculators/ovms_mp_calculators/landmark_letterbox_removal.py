"""Landmarks in a padded image become landmarks in the image without its padding:
LandmarkLetterboxRemovalCalculator.

    node {
      calculator: "LandmarkLetterboxRemovalCalculator"
      input_stream: "LANDMARKS:in_the_letterbox"    # NormalizedLandmarkList
      input_stream: "LETTERBOX_PADDING:padding"     # left, top, right, bottom
      output_stream: "LANDMARKS:in_the_image"       # NormalizedLandmarkList
    }

As MediaPipe's: the padding is in fractions of the padded image. There may be several
streams LANDMARKS, as many in as out. Without a padding nothing leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Inputs,
    Outputs,
    tagged,
)
from ovms_mp.formats.landmark import NormalizedLandmarkList

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.formats.landmark import Floats


class LandmarkLetterboxRemovalCalculator(Calculator):
    """Fails for a padding that leaves no image."""

    timestamp_offset = 0

    given = Inputs(NormalizedLandmarkList, "LANDMARKS")
    padding: Input[tuple[float, ...]] = Input(tuple, "LETTERBOX_PADDING")
    adjusted = Outputs(NormalizedLandmarkList, "LANDMARKS")

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """As many in as out."""
        same_number(node, "LANDMARKS")

    def open(self, ctx: Context) -> None:
        """No padding is known."""
        self._padding: tuple[float, ...] | None = None

    def process(self, ctx: Context) -> None:
        """What came at one timestamp."""
        if not ctx.has(self.padding):
            return
        padding = ctx[self.padding]
        if padding != self._padding:
            self._origin, self._inner = _within(padding)
            self._padding = padding
        for given, adjusted in zip(self.given, self.adjusted, strict=True):
            if ctx.has(given):
                landmarks = ctx[given]
                if any(padding):
                    points = landmarks.points - self._origin
                    points /= self._inner
                    landmarks = landmarks.at(points)
                ctx.send(adjusted, landmarks)


def _within(padding: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Where the image begins in its letterbox, and its size."""
    left, top, right, bottom = np.array(padding, np.float32)
    wide, high = 1 - (left + right), 1 - (top + bottom)
    if not (wide > 0 and high > 0):
        raise ValueError("the padding leaves nothing of the image")
    origin = np.array([left, top, 0], np.float32)
    return origin, np.array([wide, high, wide], np.float32)


def same_number(node: NodeInfo, tag: str) -> None:
    """Raises ContractError for a node with more or fewer inputs of a tag than outputs."""
    given, made = len(tagged(node.inputs, tag)), len(tagged(node.outputs, tag))
    if given != made:
        raise ContractError(
            f"{given} inputs {tag} and {made} outputs {tag}: there must be as many"
        )

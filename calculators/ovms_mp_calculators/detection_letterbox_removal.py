"""Detections in a padded image become detections in the image without its padding:
DetectionLetterboxRemovalCalculator.

    node {
      calculator: "DetectionLetterboxRemovalCalculator"
      input_stream: "DETECTIONS:in_the_letterbox"    # list of Detection
      input_stream: "LETTERBOX_PADDING:padding"      # left, top, right, bottom
      output_stream: "DETECTIONS:in_the_image"       # list of Detection
    }

As MediaPipe's: the padding is in fractions of the padded image, boxes are relative ones.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from ovms_mp.calculator import Calculator, Input, Output, tagged
from ovms_mp.formats.detection import Box, Detection

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort


class DetectionLetterboxRemovalCalculator(Calculator):
    """Fails for detections without a padding, and for one that leaves no image."""

    timestamp_offset = 0

    given: Input[list[Detection]] = Input(list, "DETECTIONS")
    padding: Input[tuple[float, ...]] = Input(tuple, "LETTERBOX_PADDING")
    adjusted: Output[list[Detection]] = Output(list, "DETECTIONS")

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """Detections remain detections."""
        return zip(tagged(node.inputs, "DETECTIONS"), node.outputs, strict=False)

    def process(self, ctx: Context) -> None:
        """One list."""
        if not ctx.has(self.given):
            return
        left, top, right, bottom = array("f", ctx[self.padding])
        across, down = array("f", (left + right, top + bottom))
        if not (across < 1 and down < 1):
            raise ValueError("the padding leaves nothing of the image")
        wide, high = array("f", (1 - across, 1 - down))
        origin = np.array((left, top), np.float32)
        inner = np.array((wide, high), np.float32)
        adjusted: list[Detection] = []
        for each in ctx[self.given]:
            # In float32 after each step; four numbers take numpy longer.
            x, y, width, height = array("f", each.box)
            x, y = array("f", (x - left, y - top))
            box = array("f", (x / wide, y / high, width / wide, height / high))
            points = each.keypoints
            if points.size:
                points = points - origin
                points /= inner
            adjusted.append(each.at(Box(*box), points))
        ctx.send(self.adjusted, adjusted)

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

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ovms_mp.calculator import Calculator, Input, Output, tagged
from ovms_mp.formats.detection import Box, Detection, boxes_of

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
        left, top, right, bottom = np.array(ctx[self.padding], np.float32)
        if not (left + right < 1 and top + bottom < 1):
            raise ValueError("the padding leaves nothing of the image")
        inner = np.float32(1) - np.array([left + right, top + bottom])
        origin = np.array([left, top])
        detections = ctx[self.given]
        boxes = boxes_of(detections)
        boxes[:, :2] = (boxes[:, :2] - origin) / inner
        boxes[:, 2:] /= inner
        adjusted = [
            replace(each, box=Box(*box), keypoints=(each.keypoints - origin) / inner)
            for each, box in zip(detections, boxes.tolist(), strict=True)
        ]
        ctx.send(self.adjusted, adjusted)

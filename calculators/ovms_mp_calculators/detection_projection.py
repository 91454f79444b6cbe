"""Detections in a part of an image become detections in the image:
DetectionProjectionCalculator.

    node {
      calculator: "DetectionProjectionCalculator"
      input_stream: "DETECTIONS:in_the_part"     # list of Detection
      input_stream: "PROJECTION_MATRIX:matrix"   # [4, 4], of an ImageToTensorCalculator
      output_stream: "DETECTIONS:in_the_image"   # list of Detection
    }

As MediaPipe's: boxes are relative ones; of a box that is turned the box around it is
left. There may be several streams DETECTIONS, as many in as out. Without a matrix nothing
leaves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Inputs,
    Outputs,
    tagged,
)
from ovms_mp.core.tensor import Array
from ovms_mp.formats.detection import Box, Detection, LocationFormat, boxes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort

# Of a box, in sizes of it.
_CORNERS: Final = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)


class DetectionProjectionCalculator(Calculator):
    """Fails for boxes in pixels, and for a matrix that is none of 4x4."""

    timestamp_offset = 0

    given: Inputs[list[Detection]] = Inputs(list, "DETECTIONS")
    matrix: Input[Array] = Input(np.ndarray, "PROJECTION_MATRIX")
    projected: Outputs[list[Detection]] = Outputs(list, "DETECTIONS")

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """As many in as out."""
        given = len(tagged(node.inputs, "DETECTIONS"))
        if given != len(node.outputs):
            raise ContractError(
                f"{given} inputs DETECTIONS and {len(node.outputs)} outputs: there must "
                "be as many"
            )

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """Detections remain detections."""
        inputs = tagged(node.inputs, "DETECTIONS")
        return zip(inputs, tagged(node.outputs, "DETECTIONS"), strict=False)

    def process(self, ctx: Context) -> None:
        """What came at one timestamp."""
        matrix = ctx.get(self.matrix)
        if matrix is None:
            return
        if matrix.shape != (4, 4):
            raise ValueError(f"a matrix of shape {list(matrix.shape)}; expected [4, 4]")
        for given, projected in zip(self.given, self.projected, strict=True):
            if ctx.has(given):
                ctx.send(projected, _projected(ctx[given], matrix))


def _projected(detections: Sequence[Detection], matrix: Array) -> list[Detection]:
    if not detections:
        return []
    for each in detections:
        if each.format is not LocationFormat.RELATIVE_BOUNDING_BOX:
            raise ValueError(f"a location of {each.format.name} cannot be projected")
    turn = matrix[:2, :2].astype(np.float32).T
    move = matrix[:2, 3].astype(np.float32)
    boxes = boxes_of(detections)[:, np.newaxis]
    corners = (boxes[..., :2] + boxes[..., 2:] * _CORNERS) @ turn + move
    low = np.minimum.reduce(corners, axis=1)
    sizes = (np.maximum.reduce(corners, axis=1) - low).tolist()
    return [
        replace(each, box=Box(*at, *size), keypoints=each.keypoints @ turn + move)
        for each, at, size in zip(detections, low.tolist(), sizes, strict=True)
    ]

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

import math
from array import array
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
from ovms_mp.core.tensor import Array
from ovms_mp.formats.detection import Box, Detection, LocationFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort


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
    places = matrix[:2].astype(np.float32)
    rows, turn, move = places.tolist(), places[:, :2].T, places[:, 3]
    projected: list[Detection] = []
    for each in detections:
        points = each.keypoints
        if points.size:
            points = points @ turn
            points += move
        projected.append(each.at(_around(each.box, rows), points))
    return projected


def _around(box: Box, rows: Sequence[Sequence[float]]) -> Box:
    """The box around the corners of one, where the two rows of a matrix take them.
    Computed as numpy does in float32, which takes longer for four points.
    """
    (a, b, _, across), (c, d, _, down) = rows
    x, y, width, height = array("f", box)
    # Of a box without an end no corner is known.
    left, right = array("f", (x + 0 * width, x + width))
    top, bottom = array("f", (y + 0 * height, y + height))
    al, ar, cl, cr = array("f", (a * left, a * right, c * left, c * right))
    bt, bb, dt, db = b * top, b * bottom, d * top, d * bottom
    xs = array("f", (al + bt, ar + bt, ar + bb, al + bb))
    ys = array("f", (cl + dt, cr + dt, cr + db, cl + db))
    xmin, xmax = _reach(array("f", [each + across for each in xs]))
    ymin, ymax = _reach(array("f", [each + down for each in ys]))
    return Box(xmin, ymin, *array("f", (xmax - xmin, ymax - ymin)))


def _reach(numbers: Sequence[float]) -> tuple[float, float]:
    """The least and the largest; neither is one where one of them is none."""
    if math.isnan(sum(numbers)) and any(map(math.isnan, numbers)):
        return math.nan, math.nan
    return min(numbers), max(numbers)

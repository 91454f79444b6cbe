"""Landmarks in a part of an image become landmarks in the image:
LandmarkProjectionCalculator.

    node {
      calculator: "LandmarkProjectionCalculator"
      input_stream: "NORM_LANDMARKS:in_the_part"     # NormalizedLandmarkList
      input_stream: "NORM_RECT:part"                 # NormalizedRect
      output_stream: "NORM_LANDMARKS:in_the_image"   # NormalizedLandmarkList
    }

As MediaPipe's. The part is NORM_RECT, which is right for one that is a square in pixels;
NORM_RECT with the image's size as IMAGE_DIMENSIONS; or a PROJECTION_MATRIX [4, 4], as an
ImageToTensorCalculator tells it. There may be several streams NORM_LANDMARKS, as many in
as out. Where the part is not known nothing leaves.

WorldLandmarkProjectionCalculator turns LANDMARKS, which are in metres, as NORM_RECT is
turned; without that stream they leave as they came.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Final

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Inputs,
    Options,
    Output,
    Outputs,
    tagged,
)
from ovms_mp.core.tensor import Array
from ovms_mp.formats.landmark import LandmarkList, NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect
from ovms_mp_calculators.image_region import Region, rotated_matrix
from ovms_mp_calculators.landmark_letterbox_removal import same_number

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.formats.landmark import Floats

_OPTIONS: Final = graph.LandmarkProjectionCalculatorOptions


class LandmarkProjectionCalculator(Calculator):
    """Fails for a matrix that is none of 4x4."""

    timestamp_offset = 0

    given = Inputs(NormalizedLandmarkList, "NORM_LANDMARKS")
    rect = Input(NormalizedRect, "NORM_RECT", optional=True)
    size: Input[tuple[int, int]] = Input(tuple, "IMAGE_DIMENSIONS", optional=True)
    matrix: Input[Array] = Input(np.ndarray, "PROJECTION_MATRIX", optional=True)
    projected = Outputs(NormalizedLandmarkList, "NORM_LANDMARKS")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """As many in as out, and one way to say where the part is."""
        same_number(node, "NORM_LANDMARKS")
        has_rect = bool(tagged(node.inputs, "NORM_RECT"))
        if has_rect == bool(tagged(node.inputs, "PROJECTION_MATRIX")):
            raise ContractError("one input is needed, NORM_RECT or PROJECTION_MATRIX")
        if tagged(node.inputs, "IMAGE_DIMENSIONS") and not has_rect:
            raise ContractError("IMAGE_DIMENSIONS goes with NORM_RECT")

    def open(self, ctx: Context) -> None:
        """Whether the part is taken for one that is not turned."""
        self._is_upright = self.options.ignore_rotation

    def process(self, ctx: Context) -> None:
        """What came at one timestamp."""
        places = self._places(ctx)
        if places is None:
            return
        turn, move = places
        for given, projected in zip(self.given, self.projected, strict=True):
            if ctx.has(given):
                landmarks = ctx[given]
                points = np.dot(landmarks.points, turn)
                points += move
                ctx.send(projected, landmarks.at(points))

    def _places(self, ctx: Context) -> tuple[Floats, Floats] | None:
        """What rows of points are multiplied by, and what is added; z is scaled as x is.
        None: not known.
        """
        if self.matrix:
            if not ctx.has(self.matrix):
                return None
            given = ctx[self.matrix]
            if given.shape != (4, 4):
                raise ValueError(
                    f"a matrix of shape {list(given.shape)}; expected [4, 4]"
                )
            return _of_matrix(given.astype(np.float32))
        if not ctx.has(self.rect) or (self.size and not ctx.has(self.size)):
            return None
        rect = ctx[self.rect]
        rotation = 0.0 if self._is_upright else rect.rotation
        if self.size:
            width, height = ctx[self.size]
            if min(width, height) < 1:
                raise ValueError(f"an image of {width}x{height} has no parts")
            region = Region(
                rect.x_center * width,
                rect.y_center * height,
                rect.width * width,
                rect.height * height,
                rotation,
            )
            return _of_matrix(rotated_matrix(region, width, height))
        return _of_square(rect, rotation)


class WorldLandmarkProjectionCalculator(Calculator):
    """Turns around the z axis."""

    timestamp_offset = 0

    given = Input(LandmarkList, "LANDMARKS")
    rect = Input(NormalizedRect, "NORM_RECT", optional=True)
    projected = Output(LandmarkList, "LANDMARKS")

    def process(self, ctx: Context) -> None:
        """One list."""
        if not ctx.has(self.given):
            return
        landmarks = ctx[self.given]
        if self.rect:
            if not ctx.has(self.rect):
                return
            angle = ctx[self.rect].rotation
            cos, sin = math.cos(angle), math.sin(angle)
            turn = np.array((cos, sin, 0, -sin, cos, 0, 0, 0, 1), np.float32)
            points = np.dot(landmarks.points, turn.reshape(3, 3))
            landmarks = landmarks.at(points)
        ctx.send(self.projected, landmarks)


def _of_square(rect: NormalizedRect, rotation: float) -> tuple[Floats, Floats]:
    """Turned as if width and height were of the same unit."""
    # Rounded to float32 after each step, as MediaPipe's are; there are few of them.
    turned = math.cos(rotation), math.sin(rotation)
    cos, sin, wide, high = array("f", (*turned, rect.width, rect.height))
    a, b, c, d = array("f", (cos * wide, sin * high, -sin * wide, cos * high))
    x, y, across, down = array("f", (rect.x_center, rect.y_center, a + c, b + d))
    x, y = x - across / 2, y - down / 2
    places = np.array((a, b, 0, c, d, 0, 0, 0, wide, x, y, 0), np.float32)
    return places[:9].reshape(3, 3), places[9:]


def _of_matrix(matrix: Floats) -> tuple[Floats, Floats]:
    """Of a [4, 4], whose row for z does not count."""
    matrix[2] = (0, 0, math.hypot(matrix[0, 0], matrix[1, 0]), 0)
    return matrix[:3, :3].T, matrix[:3, 3]

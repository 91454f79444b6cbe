"""How landmarks are drawn: LandmarksToRenderDataCalculator.

    node {
      calculator: "LandmarksToRenderDataCalculator"
      input_stream: "NORM_LANDMARKS:hand"         # NormalizedLandmarkList
      input_stream: "RENDER_SCALE:scale"          # float, optional
      output_stream: "RENDER_DATA:render_data"    # RenderData
      node_options: {
        [type.googleapis.com/mediapipe.LandmarksToRenderDataCalculatorOptions] {
          landmark_connections: [0, 1, 1, 2, 2, 3, 3, 4]
          landmark_color { r: 255 g: 0 b: 0 }
          connection_color { r: 0 g: 255 b: 0 }
          thickness: 4.0
        }
      }
    }

As MediaPipe's: a line for each two of `landmark_connections`, then a point for each
landmark unless `render_landmarks` is false. LANDMARKS, in pixels, is the other kind. A
landmark that is less visible (`utilize_visibility`) or less present (`utilize_presence`)
than its threshold is not drawn, nor are its lines. Where depths differ and unless
`visualize_landmark_depth` is false, what is far is smaller and of another colour.
"""

from __future__ import annotations

from itertools import compress, repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
)
from ovms_mp.formats.landmark import LandmarkList, NormalizedLandmarkList
from ovms_mp.formats.messages import color_of
from ovms_mp.formats.render_data import (
    BLACK,
    Color,
    GradientLine,
    Line,
    Point,
    RenderAnnotation,
    RenderData,
)
from ovms_mp_calculators.landmarks_to_detection import HIGHEST, SMALLEST

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.formats.landmark import Floats

_OPTIONS: Final = graph.LandmarksToRenderDataCalculatorOptions
_WHITE: Final = Color(255, 255, 255)
_GRAYS: Final = [Color(each, each, each) for each in range(256)]
# Depths that differ by less are one depth.
_FLAT: Final = 1e-3


class _Places(NamedTuple):
    """Of landmarks: x and y of each, which of them are shown if not all are, and how deep
    each is if that is to be seen.
    """

    points: list[list[float]]
    shown: list[bool] | None
    depths: list[float] | None
    is_normalized: bool


class LandmarksToRenderDataCalculator(Calculator):
    """Fails where a stream RENDER_SCALE has no packet for landmarks."""

    timestamp_offset = 0

    landmarks = Input(LandmarkList, "LANDMARKS", optional=True)
    norm_landmarks = Input(NormalizedLandmarkList, "NORM_LANDMARKS", optional=True)
    scale = Input(float, "RENDER_SCALE", optional=True)
    render_data = Output(RenderData, "RENDER_DATA")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One kind of landmarks, and connections in pairs."""
        tags = [each.tag for each in node.inputs if each.tag != "RENDER_SCALE"]
        if len(tags) != 1:
            raise ContractError("one input is needed, LANDMARKS or NORM_LANDMARKS")
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if len(options.landmark_connections) % 2:
            raise ContractError(
                "Number of entries in landmark connections must be a multiple of 2"
            )
        if any(each < 0 for each in options.landmark_connections):
            raise ContractError("landmark_connections are 0 or more")

    def open(self, ctx: Context) -> None:
        """What all of them share."""
        options = self.options
        self._given: Any = self.norm_landmarks or self.landmarks
        ends = list(options.landmark_connections)
        self._connect(list(zip(ends[::2], ends[1::2], strict=True)))
        self._draws_points = options.render_landmarks
        self._thickness = options.thickness
        self._point_color = color_of(options.landmark_color)
        self._line_color = color_of(options.connection_color)
        self._least_visibility = self._least_presence = None
        if options.utilize_visibility:
            self._least_visibility = np.float32(options.visibility_threshold)
        if options.utilize_presence:
            self._least_presence = np.float32(options.presence_threshold)
        self._shows_depth = options.visualize_landmark_depth
        self._near, self._far = BLACK, _WHITE
        if options.HasField("min_depth_line_color"):
            self._near = color_of(options.min_depth_line_color)
        if options.HasField("max_depth_line_color"):
            self._far = color_of(options.max_depth_line_color)
        self._least_size = options.min_depth_circle_thickness
        self._more_size = options.max_depth_circle_thickness - self._least_size

    def _connect(self, lines: list[tuple[int, int]]) -> None:
        self._lines = lines
        self._last = max(map(max, lines), default=-1)

    def process(self, ctx: Context) -> None:
        """One list."""
        given = self._given
        if not ctx.has(given):
            return
        thickness = self._thickness
        if self.scale:
            if not ctx.has(self.scale):
                raise ValueError("landmarks came without their RENDER_SCALE")
            thickness *= ctx[self.scale]
        landmarks = ctx[given]
        places = _Places(
            landmarks.points[:, :2].tolist(),
            self._shown(landmarks),
            _depths(landmarks.points[:, 2]) if self._shows_depth else None,
            isinstance(landmarks, NormalizedLandmarkList),
        )
        thickness = float(np.float32(thickness))
        drawn = self._drawn_lines(places, thickness)
        if self._draws_points:
            drawn += self._drawn_points(places, thickness)
        ctx.send(self.render_data, RenderData(tuple(drawn)))

    # Hundreds of a face in each frame: what is not the same for all of them is asked once.

    def _drawn_lines(self, places: _Places, thickness: float) -> list[RenderAnnotation]:
        points, shown, depths, is_normalized = places
        lines, count = self._lines, len(points)
        if self._last >= count:
            lines = [each for each in lines if max(each) < count]
        if shown is not None:
            lines = [(a, b) for a, b in lines if shown[a] and shown[b]]
        ends = [(points[a], points[b]) for a, b in lines]
        if depths is None:
            color = self._line_color
            return [
                RenderAnnotation(Line(x0, y0, x1, y1, is_normalized), color, thickness)
                for (x0, y0), (x1, y1) in ends
            ]
        mixed = self._mixed(depths, shown)
        colors = [(mixed[a], mixed[b]) for a, b in lines]
        return [
            RenderAnnotation(
                GradientLine(x0, y0, x1, y1, is_normalized, *both), BLACK, thickness
            )
            for ((x0, y0), (x1, y1)), both in zip(ends, colors, strict=True)
        ]

    def _drawn_points(
        self, places: _Places, thickness: float
    ) -> list[RenderAnnotation]:
        points, shown, depths, is_normalized = places
        if shown is not None:
            points = [*compress(points, shown)]
        if depths is None:
            color = self._point_color
            return [
                RenderAnnotation(
                    Point(x, y, is_normalized), color, thickness, "KEYPOINT"
                )
                for x, y in points
            ]
        if shown is not None:
            depths = [*compress(depths, shown)]
        least, more = self._least_size, self._more_size
        drawn: list[RenderAnnotation] = []
        for (x, y), depth in zip(points, depths, strict=True):
            color = _GRAYS[255 - int(depth * 255)]
            size = float(int(least + (1 - depth) * more))
            point = Point(x, y, is_normalized)
            drawn.append(RenderAnnotation(point, color, size, "KEYPOINT"))
        return drawn

    def _shown(
        self, landmarks: LandmarkList | NormalizedLandmarkList
    ) -> list[bool] | None:
        hidden = None
        if self._least_visibility is not None and landmarks.visibility is not None:
            hidden = landmarks.visibility < self._least_visibility
        if self._least_presence is not None and landmarks.presence is not None:
            absent = landmarks.presence < self._least_presence
            hidden = absent if hidden is None else hidden | absent
        return None if hidden is None else (~hidden).tolist()

    def _mixed(self, depths: list[float], shown: list[bool] | None) -> list[Color]:
        """The smaller the depth, the more of the colour for the largest one."""
        (r0, g0, b0), (r1, g1, b1) = self._near, self._far
        return [
            Color(
                int(r0 * share + r1 * (1 - share)),
                int(g0 * share + g1 * (1 - share)),
                int(b0 * share + b1 * (1 - share)),
            )
            if is_shown
            else BLACK
            for share, is_shown in zip(depths, shown or repeat(True), strict=False)
        ]


def _depths(depths: Floats) -> list[float] | None:
    """From 0 for the smallest to 1 for the largest; None where they are all one."""
    low = np.fmin.reduce(depths, initial=HIGHEST)
    high = np.fmax.reduce(depths, initial=SMALLEST)
    reach = float(high - low)
    if not reach > _FLAT:
        return None
    shares = (depths - low) / (reach + 1e-6)
    return shares.astype(np.float32).tolist()

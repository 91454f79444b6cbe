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
from ovms_mp_calculators.landmarks_to_detection import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.formats.landmark import Floats

_OPTIONS: Final = graph.LandmarksToRenderDataCalculatorOptions
_WHITE: Final = Color(255, 255, 255)
# Depths that differ by less are one depth.
_FLAT: Final = 1e-3


class _Places(NamedTuple):
    """Of landmarks: x, y and z of each, whether it is shown, and how deep it is."""

    points: list[list[float]]
    shown: list[bool]
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
        ends = list(options.landmark_connections)
        self._lines = list(zip(ends[::2], ends[1::2], strict=True))
        self._point_color = color_of(options.landmark_color)
        self._line_color = color_of(options.connection_color)
        self._near, self._far = BLACK, _WHITE
        if options.HasField("min_depth_line_color"):
            self._near = color_of(options.min_depth_line_color)
        if options.HasField("max_depth_line_color"):
            self._far = color_of(options.max_depth_line_color)

    def process(self, ctx: Context) -> None:
        """One list."""
        given: Any = self.norm_landmarks or self.landmarks
        if not ctx.has(given):
            return
        thickness = self.options.thickness
        if self.scale:
            if not ctx.has(self.scale):
                raise ValueError("landmarks came without their RENDER_SCALE")
            thickness *= ctx[self.scale]
        landmarks = ctx[given]
        depths = None
        if self.options.visualize_landmark_depth:
            depths = _depths(landmarks.points[:, 2])
        places = _Places(
            landmarks.points.tolist(),
            self._shown(landmarks),
            depths,
            isinstance(landmarks, NormalizedLandmarkList),
        )
        thickness = float(np.float32(thickness))
        drawn = [*self._drawn_lines(places, thickness)]
        if self.options.render_landmarks:
            drawn += self._drawn_points(places, thickness)
        ctx.send(self.render_data, RenderData(tuple(drawn)))

    def _drawn_lines(
        self, places: _Places, thickness: float
    ) -> Iterator[RenderAnnotation]:
        points, shown, depths, is_normalized = places
        mixed = [] if depths is None else [*map(self._mixed, depths, shown)]
        for start, end in self._lines:
            if start >= len(points) or end >= len(points):
                continue
            if not (shown[start] and shown[end]):
                continue
            (x0, y0, _), (x1, y1, _) = points[start], points[end]
            if depths is None:
                line, color = Line(x0, y0, x1, y1, is_normalized), self._line_color
            else:
                first, last = mixed[start], mixed[end]
                line = GradientLine(x0, y0, x1, y1, is_normalized, first, last)
                color = BLACK
            yield RenderAnnotation(line, color, thickness)

    def _drawn_points(
        self, places: _Places, thickness: float
    ) -> Iterator[RenderAnnotation]:
        points, shown, depths, is_normalized = places
        color = self._point_color
        least = self.options.min_depth_circle_thickness
        more = self.options.max_depth_circle_thickness - least
        for place, (x, y, _) in enumerate(points):
            if not shown[place]:
                continue
            if depths is not None:
                shade = 255 - int(depths[place] * 255)
                color = Color(shade, shade, shade)
                thickness = float(int(least + (1 - depths[place]) * more))
            point = Point(x, y, is_normalized)
            yield RenderAnnotation(point, color, thickness, "KEYPOINT")

    def _shown(self, landmarks: LandmarkList | NormalizedLandmarkList) -> list[bool]:
        options = self.options
        shown = np.ones(len(landmarks), bool)
        if options.utilize_visibility and landmarks.visibility is not None:
            least = np.float32(options.visibility_threshold)
            shown &= ~(landmarks.visibility < least)
        if options.utilize_presence and landmarks.presence is not None:
            least = np.float32(options.presence_threshold)
            shown &= ~(landmarks.presence < least)
        return shown.tolist()

    def _mixed(self, share: float, is_shown: bool) -> Color:
        """The smaller the depth, the more of the colour for the largest one."""
        if not is_shown:
            return BLACK
        (r0, g0, b0), (r1, g1, b1) = self._near, self._far
        rest = 1 - share
        return Color(
            int(r0 * share + r1 * rest),
            int(g0 * share + g1 * rest),
            int(b0 * share + b1 * rest),
        )


def _depths(depths: Floats) -> list[float] | None:
    """From 0 for the smallest to 1 for the largest; None where they are all one."""
    low, high = limits(depths[:, None])
    reach = float(high[0] - low[0])
    if not reach > _FLAT:
        return None
    shares = (depths - low[0]) / (reach + 1e-6)
    return shares.astype(np.float32).tolist()

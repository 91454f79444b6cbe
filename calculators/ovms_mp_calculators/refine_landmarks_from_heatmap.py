"""Landmarks are moved to where a heatmap is hottest: RefineLandmarksFromHeatmapCalculator.

    node {
      calculator: "RefineLandmarksFromHeatmapCalculator"
      input_stream: "NORM_LANDMARKS:landmarks"     # NormalizedLandmarkList
      input_stream: "TENSORS:heatmap"              # list of one ndarray [1, h, w, n]
      output_stream: "NORM_LANDMARKS:refined"      # NormalizedLandmarkList
      node_options: {
        [type.googleapis.com/mediapipe.RefineLandmarksFromHeatmapCalculatorOptions] {
          kernel_size: 7
        }
      }
    }

As MediaPipe's: each landmark has a layer of logits. x and y become the centre of mass of
the `kernel_size` times `kernel_size` cells around it, if one of them is as sure as
`min_confidence_to_refine`. With `refine_presence` and `refine_visibility` these are at
most as high as the surest cell. A landmark outside of the map, and all of them when there
is no heatmap, stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, Input, Options, Output, tagged
from ovms_mp.formats.landmark import NormalizedLandmarkList
from ovms_mp_calculators.box_decoding import as_floats, foresee_first
from ovms_mp_calculators.model_tensors import named
from ovms_mp_calculators.tensors_to_landmarks import sigmoid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator import Context, Foreseen, NodeInfo
    from ovms_mp.core.tensor import Array
    from ovms_mp.formats.landmark import Floats

_OPTIONS: Final = graph.RefineLandmarksFromHeatmapCalculatorOptions
_NO_TENSORS: Final = "a list without tensors has no heatmap"


class RefineLandmarksFromHeatmapCalculator(Calculator):
    """Fails for a heatmap of another datatype than FP32, and for one with more or fewer
    layers than there are landmarks.
    """

    timestamp_offset = 0

    landmarks = Input(NormalizedLandmarkList, "NORM_LANDMARKS")
    tensors: Input[list[Array]] = Input(list, "TENSORS")
    refined = Output(NormalizedLandmarkList, "NORM_LANDMARKS")
    options = Options(_OPTIONS)

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """Refuse a model whose heatmap has not a layer for each landmark."""
        landmarks = coming.get(tagged(node.inputs, "NORM_LANDMARKS")[0].name)
        tensors = coming.get(tagged(node.inputs, "TENSORS")[0].name)
        count = landmarks[0].shape[0] if landmarks else -1
        if tensors is not None:
            heat = foresee_first(tensors, _NO_TENSORS)
            if not heat.may_be((1, -1, -1, count), (-1, -1, count)):
                raise _no_layers(heat.shape, count, heat.whose)
        return {} if landmarks is None else {node.outputs[0].name: landmarks}

    def process(self, ctx: Context) -> None:
        """One list and its heatmap."""
        if not ctx.has(self.landmarks):
            return
        landmarks = ctx[self.landmarks]
        if ctx.has(self.tensors):
            tensors = ctx[self.tensors]
            if not tensors:
                raise ValueError(_NO_TENSORS)
            whose = named(tensors, 0)
            heat = _layers(as_floats(tensors[0], whose), len(landmarks), whose)
            landmarks = self._refined(landmarks, heat)
        ctx.send(self.refined, landmarks)

    def _refined(
        self, landmarks: NormalizedLandmarkList, heat: Floats
    ) -> NormalizedLandmarkList:
        options = self.options
        height, width = heat.shape[:2]
        size = np.array([width, height], np.float32)
        at = landmarks.points[:, :2] * size
        # Towards zero: what is up to a cell outside is in the first one.
        is_inside = np.all(np.logical_and(at > -1, at < size), axis=1)
        center = np.where(is_inside[:, None], at, 0).astype(np.intp)
        offset = int((options.kernel_size - 1) / 2)
        reach = np.arange(-offset, offset + 1)
        cols, rows = center[:, :1] + reach, center[:, 1:] + reach
        layer = np.arange(len(landmarks))[:, None, None]
        found = heat[
            rows.clip(0, height - 1)[:, :, None],
            cols.clip(0, width - 1)[:, None, :],
            layer,
        ]
        is_row = np.logical_and(rows >= 0, rows < height)
        is_col = np.logical_and(cols >= 0, cols < width)
        is_known = np.logical_and(is_row[:, :, None], is_col[:, None, :])
        sure = np.where(is_known, sigmoid(found), np.float32(0))
        mass = sure.sum(axis=(1, 2))
        most = sure.max(axis=(1, 2), initial=0)
        has_mass = is_inside & (mass > 0)
        moves = has_mass & (most >= np.float32(options.min_confidence_to_refine))
        points = landmarks.points.copy()
        weight = mass[moves]
        across = (sure.sum(axis=1) * cols.astype(np.float32)).sum(axis=1)
        down = (sure.sum(axis=2) * rows.astype(np.float32)).sum(axis=1)
        points[moves, 0] = across[moves] / size[0] / weight
        points[moves, 1] = down[moves] / size[1] / weight
        presence, visibility = landmarks.presence, landmarks.visibility
        if options.refine_presence and presence is not None:
            presence = np.where(has_mass, np.minimum(presence, most), presence)
        if options.refine_visibility and visibility is not None:
            visibility = np.where(has_mass, np.minimum(visibility, most), visibility)
        return NormalizedLandmarkList(points, visibility, presence)


def _layers(tensor: Floats, count: int, whose: str) -> Floats:
    """[height, width, layers]."""
    shape = tensor.shape
    if len(shape) == 4 and shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 3 or tensor.shape[2] != count or 0 in tensor.shape:
        raise _no_layers(shape, count, whose)
    return tensor


def _no_layers(shape: tuple[int, ...], count: int, whose: str) -> ValueError:
    layers = count if count >= 0 else "landmarks"
    return ValueError(
        f"{whose} of shape {list(shape)}; expected [1, height, width, {layers}]"
    )

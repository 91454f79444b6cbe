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

    from numpy.typing import NDArray

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

    def open(self, ctx: Context) -> None:
        """Options as they are computed with."""
        options = self.options
        self._least = np.float32(options.min_confidence_to_refine)
        self._refines_presence = options.refine_presence
        self._refines_visibility = options.refine_visibility
        self._windows: _Windows | None = None

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
        if self._windows is None or self._windows.shape != heat.shape:
            self._windows = _Windows(heat.shape, self.options.kernel_size)
        windows = self._windows
        at = landmarks.points.T[:2].copy()
        at *= windows.size
        # Most often all windows are within the map, and nothing is to be left out.
        is_whole = (at >= windows.least) & (at < windows.most)
        are_whole = np.count_nonzero(is_whole) == is_whole.size
        is_inside = is_whole
        if not are_whole:
            # Towards zero: what is up to a cell outside is in the first one.
            is_inside = (at > -1) & (at < windows.size)
            at = np.where(is_inside, at, 0)
        center = at.astype(np.intp)
        cells = center.astype(np.float32)[:, None] + windows.reach
        sure = sigmoid(windows.take(heat, center))
        if not are_whole:
            is_col, is_row = (cells >= 0) & (cells < windows.size[:, None])
            sure = np.where(is_row[:, None] & is_col, sure, np.float32(0))
        each = sure.reshape(-1, len(landmarks)).T.copy()
        mass = np.add.reduce(each, axis=1)
        most = np.maximum.reduce(each, axis=1, initial=0)
        has_mass = mass > 0
        if not are_whole:
            has_mass &= is_inside[0] & is_inside[1]
        moves = has_mass & (most >= self._least)
        sides = np.empty_like(cells)
        np.add.reduce(sure, axis=0, out=sides[0])
        np.add.reduce(sure, axis=1, out=sides[1])
        sides *= cells
        refined = np.add.reduce(sides, axis=1)
        refined /= windows.size
        points = landmarks.points.copy()
        np.divide(refined, mass, out=points.T[:2], where=moves)
        presence, visibility = landmarks.presence, landmarks.visibility
        if self._refines_presence and presence is not None:
            presence = np.where(has_mass, np.minimum(presence, most), presence)
        if self._refines_visibility and visibility is not None:
            visibility = np.where(has_mass, np.minimum(visibility, most), visibility)
        return NormalizedLandmarkList(points, visibility, presence)


class _Windows:
    """Where the cells around landmarks are in a heatmap of `shape`, landmarks last: sums
    over cells are then of long rows.
    """

    def __init__(self, shape: tuple[int, ...], kernel_size: int) -> None:
        height, width, layers = self.shape = shape
        offset = int((kernel_size - 1) / 2)
        reach = np.arange(-offset, offset + 1)
        # As many as there are numbers of landmarks: numpy need not repeat them.
        self.size = np.repeat(np.array([[width], [height]], np.float32), layers, axis=1)
        self.least = np.float32(offset)
        self.most = self.size - self.least
        self.reach = reach[:, None].astype(np.float32)
        self._around = (reach[:, None] * width + reach)[..., None] * layers
        self._layers = np.arange(layers)

    def take(self, heat: Floats, center: NDArray[np.intp]) -> Floats:
        """[rows, columns, landmarks] around `center` [2, landmarks], anything where they
        are outside.
        """
        _, width, layers = heat.shape
        cells = center[1] * width + center[0]
        middle: NDArray[np.intp] = cells * layers + self._layers
        return heat.reshape(-1).take(self._around + middle, mode="clip")


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

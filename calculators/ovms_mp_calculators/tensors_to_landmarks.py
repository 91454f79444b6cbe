"""Landmarks of what a model gives: TensorsToLandmarksCalculator.

    node {
      calculator: "TensorsToLandmarksCalculator"
      input_stream: "TENSORS:tensors"               # list of ndarray; the first counts
      output_stream: "NORM_LANDMARKS:landmarks"     # NormalizedLandmarkList
      node_options: {
        [type.googleapis.com/mediapipe.TensorsToLandmarksCalculatorOptions] {
          num_landmarks: 21
          input_image_width: 224
          input_image_height: 224
          normalize_z: 0.4
        }
      }
    }

As MediaPipe's: of each landmark there are as many values as the tensor has for it, x, y,
z, visibility, presence, and others without a meaning. LANDMARKS are in pixels of the
model's image, or what else the model means; NORM_LANDMARKS, and flips, need its size.
Whether to flip may also come as a stream or a side packet of bools, FLIP_HORIZONTALLY and
FLIP_VERTICALLY.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Foreseen,
    Input,
    Options,
    Output,
    SideInput,
    tagged,
)
from ovms_mp.formats.landmark import LandmarkList, NormalizedLandmarkList
from ovms_mp_calculators.box_decoding import as_floats, foresee_first
from ovms_mp_calculators.model_tensors import named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator import Context, InputPort, NodeInfo, SidePort
    from ovms_mp.core.tensor import Array
    from ovms_mp.formats.landmark import Floats

_OPTIONS: Final = graph.TensorsToLandmarksCalculatorOptions
_NO_TENSORS: Final = "a list without tensors has no landmarks"
_FLIPS: Final = ("FLIP_HORIZONTALLY", "FLIP_VERTICALLY")


class TensorsToLandmarksCalculator(Calculator):
    """Fails for tensors of another datatype than FP32, and for one with fewer values
    than landmarks, or with such as are not finite. Values that are too many are left out.
    """

    timestamp_offset = 0

    tensors: Input[list[Array]] = Input(list, "TENSORS")
    flip_x = Input(bool, "FLIP_HORIZONTALLY", optional=True)
    flip_y = Input(bool, "FLIP_VERTICALLY", optional=True)
    side_flip_x = SideInput(bool, "FLIP_HORIZONTALLY", optional=True)
    side_flip_y = SideInput(bool, "FLIP_VERTICALLY", optional=True)
    landmarks = Output(LandmarkList, "LANDMARKS", optional=True)
    norm_landmarks = Output(NormalizedLandmarkList, "NORM_LANDMARKS", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """How many landmarks, and the size of the image where it counts."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if options.num_landmarks < 1:
            raise ContractError("num_landmarks must be set, to 1 or more")
        has_flips = options.flip_horizontally or options.flip_vertically
        for tag in _FLIPS:
            given = tagged(node.inputs, tag), tagged(node.side_inputs, tag)
            if all(given):
                raise ContractError(f"{tag} comes as a stream or as a side packet")
            has_flips |= any(given)
        if not tagged(node.outputs, "NORM_LANDMARKS") and not has_flips:
            return
        for name in ("input_image_width", "input_image_height"):
            if getattr(options, name) < 1:
                raise ContractError(
                    f"{name} must be set, to 1 or more, for normalized landmarks and "
                    "for flips"
                )
        if options.normalize_z == 0:
            raise ContractError("normalize_z cannot be 0")

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """Refuse a model of fewer landmarks; rows of them leave."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        count = options.num_landmarks
        tensors = coming.get(tagged(node.inputs, "TENSORS")[0].name)
        if tensors is not None:
            first = foresee_first(tensors, _NO_TENSORS)
            if first.size is not None:
                _check_size(first.size, first.shape, count, first.whose)
        rows = [Foreseen("landmarks", "FP32", (count, -1))]
        return {port.name: rows for port in node.outputs}

    def open(self, ctx: Context) -> None:
        """The size as numbers to compute with."""
        options = self.options
        width, height = options.input_image_width, options.input_image_height
        self._size = np.array([width, height], np.float32)
        self._unit = np.array([width, height, width], np.float32)
        self._deep = np.array([1, 1, options.normalize_z], np.float32)

    def process(self, ctx: Context) -> None:
        """One list of tensors."""
        if not ctx.has(self.tensors):
            return
        tensors = ctx[self.tensors]
        if not tensors:
            raise ValueError(_NO_TENSORS)
        whose = named(tensors, 0)
        values = self._values(as_floats(tensors[0], whose), whose)
        points = np.zeros((len(values), 3), np.float32)
        known = min(values.shape[1], 3)
        points[:, :known] = values[:, :known]
        if self._flips(ctx, self.flip_x, self.side_flip_x, "flip_horizontally"):
            points[:, 0] = self._size[0] - points[:, 0]
        if known > 1 and self._flips(
            ctx, self.flip_y, self.side_flip_y, "flip_vertically"
        ):
            points[:, 1] = self._size[1] - points[:, 1]
        options = self.options
        visibility = _score(values, 3, options.visibility_activation)
        presence = _score(values, 4, options.presence_activation)
        if self.norm_landmarks:
            normalized = points / self._unit / self._deep
            found = NormalizedLandmarkList(normalized, visibility, presence)
            ctx.send(self.norm_landmarks, found)
        if self.landmarks:
            ctx.send(self.landmarks, LandmarkList(points, visibility, presence))

    def _values(self, tensor: Floats, whose: str) -> Floats:
        """A row for each landmark."""
        count = self.options.num_landmarks
        _check_size(tensor.size, tensor.shape, count, whose)
        if not np.isfinite(tensor).all():
            raise ValueError(f"{whose} has values that are not finite")
        each = tensor.size // count
        return tensor.reshape(-1)[: count * each].reshape(count, each)

    def _flips(
        self,
        ctx: Context,
        port: InputPort[bool] | None,
        side: SidePort[bool] | None,
        option: str,
    ) -> bool:
        if port and ctx.has(port):
            return ctx[port]
        if side and ctx.has_side(side):
            return ctx.side(side)
        return getattr(self.options, option)


def _check_size(size: int, shape: tuple[int, ...], count: int, whose: str) -> None:
    if size < count:
        raise ValueError(
            f"{whose} of shape {list(shape)} has no values for {count} landmarks"
        )


def _score(values: Floats, column: int, activation: int) -> Floats | None:
    if values.shape[1] <= column:
        return None
    scores = values[:, column]
    if activation == _OPTIONS.SIGMOID:
        return sigmoid(scores)
    return scores.copy()


def sigmoid(values: Floats) -> Floats:
    """Of logits; the very small ones are 0 without a warning."""
    one = np.float32(1)
    with np.errstate(over="ignore"):
        return one / (one + np.exp(-values))

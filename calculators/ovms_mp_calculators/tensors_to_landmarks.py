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

import math
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
_ONE: Final = np.float32(1)
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
        self._count = options.num_landmarks
        self._size = np.array([width, height], np.float32)
        self._unit = width, height, width
        # Not before there is a tensor of so many: the options may say any number.
        self._units: Floats | None = None
        self._depth = np.float32(options.normalize_z)
        self._flips = options.flip_horizontally, options.flip_vertically
        activations = options.visibility_activation, options.presence_activation
        self._are_logits = tuple(each == _OPTIONS.SIGMOID for each in activations)

    def process(self, ctx: Context) -> None:
        """One list of tensors."""
        if not ctx.has(self.tensors):
            return
        tensors = ctx[self.tensors]
        if not tensors:
            raise ValueError(_NO_TENSORS)
        whose = named(tensors, 0)
        values = self._values(as_floats(tensors[0], whose), whose)
        points = values[:, :3].copy()
        known = points.shape[1]
        if known < 3:
            points = np.pad(points, ((0, 0), (0, 3 - known)))
        flip_x, flip_y = self._flips
        if _told(ctx, self.flip_x, self.side_flip_x, flip_x):
            points[:, 0] = self._size[0] - points[:, 0]
        if known > 1 and _told(ctx, self.flip_y, self.side_flip_y, flip_y):
            points[:, 1] = self._size[1] - points[:, 1]
        visibility, presence = self._scores(values)
        if self.norm_landmarks:
            if self._units is None:
                # A row each: numpy takes twice as long for one that it repeats.
                self._units = np.full(points.shape, self._unit, np.float32)
            normalized = points / self._units
            if self._depth != 1:
                normalized[:, 2] /= self._depth
            found = NormalizedLandmarkList(normalized, visibility, presence)
            ctx.send(self.norm_landmarks, found)
        if self.landmarks:
            ctx.send(self.landmarks, LandmarkList(points, visibility, presence))

    def _values(self, tensor: Floats, whose: str) -> Floats:
        """A row for each landmark."""
        count, size = self._count, tensor.size
        _check_size(size, tensor.shape, count, whose)
        # Of all values at once, in half of the time; squares of huge ones are not finite.
        are_finite = math.isfinite(np.vdot(tensor, tensor))
        if not are_finite and not np.isfinite(tensor).all():
            raise ValueError(f"{whose} has values that are not finite")
        each, rest = divmod(size, count)
        if rest:
            tensor = tensor.reshape(-1)[:-rest]
        return tensor.reshape(count, each)

    def _scores(self, values: Floats) -> tuple[Floats | None, Floats | None]:
        """Visibility and presence, where there are values for them."""
        if values.shape[1] <= 3:
            return None, None
        scores = values[:, 3:5].T.copy()
        if all(self._are_logits):
            scores = sigmoid(scores)
        else:
            for row, is_logit in zip(scores, self._are_logits, strict=False):
                if is_logit:
                    row[:] = sigmoid(row)
        return scores[0], scores[1] if len(scores) > 1 else None


def _told(
    ctx: Context,
    port: InputPort[bool] | None,
    side: SidePort[bool] | None,
    otherwise: bool,
) -> bool:
    if port and ctx.has(port):
        return ctx[port]
    if side and ctx.has_side(side):
        return ctx.side(side)
    return otherwise


def _check_size(size: int, shape: tuple[int, ...], count: int, whose: str) -> None:
    if size < count:
        raise ValueError(
            f"{whose} of shape {list(shape)} has no values for {count} landmarks"
        )


# As a decorator it takes half of the time that a block takes.
@np.errstate(over="ignore")
def sigmoid(values: Floats) -> Floats:
    """Of logits; the very small ones are 0 without a warning."""
    return np.reciprocal(_ONE + np.exp(-values))

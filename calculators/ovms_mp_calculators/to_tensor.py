"""Detections, landmarks and the like as tensors, and an empty one of nothing:
ToTensorCalculator.

    node {
      calculator: "ToTensorCalculator"
      input_stream: "VALUE:found_faces"   # list of Detection, nothing without a face
      input_stream: "TICK:frame"
      output_stream: "TENSOR:faces"       # FP32 [faces, 18]
      node_options: {
        [type.googleapis.com/ovms_mp.ToTensorCalculatorOptions] {
          empty_shape: [0, 18]
        }
      }
    }

The tensor is the one that the value would be as an output of a graph. Where TICK has a
packet, TENSOR has one, too: MediaPipe sends nothing where it finds nothing, and whoever
asks about one frame wants to be told so. Values that no tick asks for are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    TensorInfo,
)
from ovms_mp.core.tensor import Array
from ovms_mp.formats.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.calculator import Context, InferenceSession, NodeInfo

_OPTIONS: Final = graph.ToTensorCalculatorOptions
_OF_AN_EMPTY_LIST: Final = (0, 0)


class ToTensorCalculator(Calculator):
    """Fails for a value that makes no tensor, or none of the other dimensions of
    `empty_shape`.
    """

    timestamp_offset = 0

    tick = Input(Any, "TICK")
    value = Input(Any, "VALUE")
    tensor: Output[Array] = Output(np.ndarray, "TENSOR")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Refuse shapes that are not empty."""
        shape = _shape(node)
        if 0 not in shape or min(shape) < 0:
            raise ContractError(
                f"empty_shape {list(shape)} is not that of an empty tensor"
            )

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """What is 0 of nothing is any number of something."""
        name = node.outputs[0].name
        shape = tuple(size or -1 for size in _shape(node))
        return {name: TensorInfo(name, "FP32", shape)}

    @classmethod
    def load(cls, node: NodeInfo) -> Array:
        """What is sent of nothing."""
        empty = np.empty(_shape(node), np.float32)
        empty.flags.writeable = False
        return empty

    def process(self, ctx: Context) -> None:
        """One tick, or a value that no tick asks for."""
        if not ctx.has(self.tick):
            return
        found = self._of(ctx[self.value]) if ctx.has(self.value) else self.shared
        ctx.send(self.tensor, found)

    def _of(self, value: Any) -> Array:
        if isinstance(value, np.ndarray):
            array = cast("Array", value)
        elif (made := tensor_of(value)) is not None:
            array = made
        else:
            raise TypeError(f"{type(value).__name__} makes no tensor")
        if array.shape == _OF_AN_EMPTY_LIST:
            return self.shared
        expected = self.shared.shape
        # Nearly always just the number of things is open.
        is_alike = array.ndim == len(expected)
        if is_alike and expected[0] == 0 and array.shape[1:] == expected[1:]:
            return array
        if not is_alike or any(
            size and size != found
            for size, found in zip(expected, array.shape, strict=True)
        ):
            sides = ", ".join(str(size) if size else "any" for size in expected)
            raise ValueError(
                f"a tensor of shape {list(array.shape)}; expected [{sides}]"
            )
        return array


def _shape(node: NodeInfo) -> tuple[int, ...]:
    options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
    return tuple(options.empty_shape)

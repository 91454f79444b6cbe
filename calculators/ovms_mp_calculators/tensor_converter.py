"""Arrays become pyovms.Tensors or the other way: PyTensorOvTensorConverterCalculator.

    node {
      calculator: "PyTensorOvTensorConverterCalculator"
      input_stream: "OVTENSOR:boxes"             # ndarray
      output_stream: "OVMS_PY_TENSOR:py_boxes"   # pyovms.Tensor, same timestamp
      node_options: {
        [type.googleapis.com/mediapipe.PyTensorOvTensorConverterCalculatorOptions]: {
          tag_to_output_tensor_names { key: "OVMS_PY_TENSOR" value: "py_boxes" }
        }
      }
    }

One stream in and one out, of these two tags, in either direction. The option names the
Tensor that comes out; it is needed in that direction and ignored in the other. No data
is copied unless it lies scattered in memory. BF16, which numpy does not have, is to
handlers a datatype of bytes, as any that is not KServe's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    CalculatorError,
    ContractError,
    Input,
    Options,
    Output,
)
from ovms_mp.calculator.pyovms import Tensor
from ovms_mp.core.tensor import Array, Datatype, byte_size, lettered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort

_OPTIONS = graph.PyTensorOvTensorConverterCalculatorOptions
_OV: Final = "OVTENSOR"
_PY: Final = "OVMS_PY_TENSOR"
_BF16: Final = Datatype.BF16


class PyTensorOvTensorConverterCalculator(Calculator):
    """Fails on an element type without a KServe datatype, and on a Tensor whose buffer
    has not the size that its shape and datatype ask for.
    """

    array_in: Input[Array] = Input(np.ndarray, _OV, optional=True)
    tensor_in = Input(Tensor, _PY, optional=True)
    array_out: Output[Array] = Output(np.ndarray, _OV, optional=True)
    tensor_out = Output(Tensor, _PY, optional=True)
    options = Options(_OPTIONS)
    timestamp_offset = 0

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One of each tag, and a name for a Tensor."""
        inputs = [port.tag for port in node.inputs]
        outputs = [port.tag for port in node.outputs]
        if (inputs, outputs) not in (([_OV], [_PY]), ([_PY], [_OV])):
            raise ContractError(
                f"one input and one output stream are needed, {_OV} to {_PY} or "
                f"{_PY} to {_OV}; given: {_listed(inputs)} to {_listed(outputs)}"
            )
        if outputs == [_PY] and not _tensor_names(node).get(_PY):
            raise ContractError(
                f'tag_to_output_tensor_names needs an entry with the key "{_PY}"'
            )

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """The same, in other clothes."""
        return [(node.inputs[0], node.outputs[0])]

    def process(self, ctx: Context) -> None:
        """Convert the packet there is."""
        # Exactly one of the two inputs exists, and it is why process was called.
        if self.node.inputs[0].tag == _OV:
            name = self.options.tag_to_output_tensor_names[_PY]
            ctx.send(self.tensor_out, _to_tensor(name, ctx[self.array_in]))
        else:
            ctx.send(self.array_out, _to_array(ctx[self.tensor_in]))


def _tensor_names(node: NodeInfo) -> Mapping[str, str]:
    options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
    return options.tag_to_output_tensor_names


def _listed(tags: list[str]) -> str:
    return ", ".join(tag or "no tag" for tag in tags) or "none"


def _invalid(text: str) -> CalculatorError:
    """As OVMS: what does not fit is the tensor's fault, not the node's."""
    return CalculatorError(text, "INVALID_ARGUMENT")


def _to_tensor(name: str, array: object) -> Tensor:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{_OV} carries {type(array).__name__}, not an array")
    values = cast("Array", array)
    # Handlers read dense memory with np.frombuffer. (ascontiguousarray alone would
    # give an array without axes one.)
    dense = np.ascontiguousarray(values).reshape(values.shape)
    if values.dtype == _BF16.dtype:
        return Tensor(name, dense.reshape(-1).view(np.uint8), values.shape, _BF16.name)
    if Datatype.from_dtype(values.dtype) is None:
        raise _invalid(f"Undefined precision in input tensor: {values.dtype}")
    return Tensor(name, lettered(dense))


def _to_array(tensor: object) -> Array:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{_PY} carries {type(tensor).__name__}, not a pyovms.Tensor")
    is_bf16 = tensor.datatype == _BF16.name
    datatype = _BF16 if is_bf16 else Datatype.from_name(tensor.datatype)
    if datatype is None:
        raise _invalid(f"Undefined precision in input python tensor: {tensor.datatype}")
    for dimension in tensor.shape:
        if dimension < 0:
            raise _invalid(f"dimension negative during conversion: {dimension}")
    expected = byte_size(tensor.shape, datatype)
    if tensor.size != expected:
        raise _invalid(
            f"python buffer size: {tensor.size}; OV tensor size: {expected}; mismatch"
        )
    source: Array = np.asarray(tensor)
    if not expected:
        return np.empty(tensor.shape, datatype.dtype)
    flat = np.ascontiguousarray(source).reshape(-1).view(np.uint8)
    return flat.view(datatype.dtype).reshape(tensor.shape)

"""Data goes to OpenVINO and comes back without a copy that is not needed, and without
memory that anybody could free, or write to, at the wrong time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter_ns
from typing import Any, Final, TypeAlias

import numpy as np
import openvino as ov

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pace import SHORT
from ovms_mp.core.tensor import Array, Datatype
from ovms_mp.inference.engine import TEXT, Inferred, Port, Ports, TensorData
from ovms_mp.inference.openvino.first_use import meet_numpy
from ovms_mp.inference.openvino.text import reason
from ovms_mp.inference.openvino.texts import TextInput, TextOutput, texts_of

# Measured through a whole server: below, a copy between OpenVINO's memory and ours costs
# less than to bind ours to it; above, it costs more.
SHARED_FROM: Final = 1_000_000

meet_numpy()

_Infer: TypeAlias = "Callable[[dict[int, ov.Tensor], bool, bool], Mapping[Any, Array]]"
_Start: TypeAlias = "Callable[[dict[int, ov.Tensor], object], None]"

_BF16: Final = Datatype.BF16.dtype

_NO_INPUTS: Final[dict[int, ov.Tensor]] = {}


class InferSlot:
    """One infer request of OpenVINO's, and what it takes to hand data to it safely.

    What is small and of one shape has memory of its own here, which OpenVINO reads and
    writes, and which is copied to and from. Other memory (inputs that are large or of
    any shape, large outputs of one shape) is bound to the request for one inference
    only: a tensor of OpenVINO's does not keep the memory alive that it was made from.
    """

    def __init__(self, request: ov.InferRequest, inputs: Ports, outputs: Ports) -> None:
        self._request = request
        # The binding's own method. The one that wraps it costs a third of a short
        # inference, to look for inputs that are not there.
        unwrapped: Any = super(ov.InferRequest, request)
        self._infer: _Infer = unwrapped.infer
        self._inputs = [
            _input(request, index, port) for index, port in enumerate(inputs)
        ]
        self._outputs = [
            _output(request, index, port) for index, port in enumerate(outputs)
        ]
        self._bound = [
            each for each in (*self._inputs, *self._outputs) if isinstance(each, _Bound)
        ]
        self._start: _Start = unwrapped.start_async
        self._has_texts = any(isinstance(each, TextOutput) for each in self._outputs)
        small = [
            each.memory for each in self._outputs if isinstance(each, _SmallOutput)
        ]
        self._small = small if len(small) == len(self._outputs) else None
        self._large = [each for each in self._outputs if isinstance(each, _LargeOutput)]

    def infer(self, tensors: Sequence[TensorData]) -> Inferred:
        """See model.Slot. Raises ServingError when OpenVINO fails, and ValueError for
        tensors that do not fit.
        """
        begun = perf_counter_ns()
        if len(tensors) != len(self._inputs):
            raise ValueError(f"{len(self._inputs)} inputs, {len(tensors)} tensors")
        try:
            for port, tensor in zip(self._inputs, tensors, strict=True):
                port.take(tensor)
            for output in self._large:
                output.prepare()
            bound = perf_counter_ns()
            results = self._run()
            done = perf_counter_ns()
            if self._small is not None:
                outputs = tuple([memory.copy() for memory in self._small])
            else:
                outputs = tuple(map(_give, self._outputs, results))
            engine_ns = done - bound
            if engine_ns > SHORT:  # it costs a microsecond to ask
                engine_ns = int(self._request.latency * 1e6)
        except (RuntimeError, UnicodeDecodeError) as error:
            status = Status.OV_INTERNAL_INFERENCE_ERROR
            raise ServingError(status, reason(error)) from error
        finally:
            for port in self._bound:
                port.let_go()
        return Inferred(outputs, begun, bound, done, perf_counter_ns(), engine_ns)

    def _run(self) -> Iterable[Array]:
        """Of each output what OpenVINO has, which is its own unless they are texts."""
        if not self._has_texts:
            return self._infer(_NO_INPUTS, True, False).values()
        # What `infer` makes of texts is not always what they are.
        self._start(_NO_INPUTS, None)
        self._request.wait()
        tensors = map(self._request.get_output_tensor, range(len(self._outputs)))
        return [
            texts_of(each) if each.element_type == ov.Type.string else each.data
            for each in tensors
        ]

    def cancel(self) -> None:
        """See model.Slot: OpenVINO stops before the model's next operation."""
        self._request.cancel()


class _SmallInput:
    """Memory that stays, and is copied to."""

    def __init__(self, request: ov.InferRequest, index: int, port: Port) -> None:
        self._index = index
        self._array = _as_said(request.get_input_tensor(index).data, port)
        self._octets = self._array.reshape(-1).view(np.uint8).data

    def take(self, tensor: TensorData) -> None:
        if not isinstance(tensor, np.ndarray):
            self._octets[:] = tensor  # raises ValueError if sizes differ
            return
        array = self._array
        _check_type(self._index, array.dtype, tensor)
        if tensor.shape != array.shape:  # would be broadcast
            raise _misfit(self._index, array.shape, tensor)
        array[...] = tensor  # in a third of the time that copyto takes


class _BoundInput:
    """Memory of the caller's, for one inference."""

    def __init__(self, request: ov.InferRequest, index: int, port: Port) -> None:
        self._request = request
        self._index = index
        self._dtype = port.datatype and port.datatype.dtype
        self._shape = _static_shape(port)
        self._own = _own_input(request, index, port)
        self._held: Array | None = None

    def take(self, tensor: TensorData) -> None:
        if not isinstance(tensor, np.ndarray):
            if self._shape is None or self._dtype is None:
                raise ValueError(f"input {self._index} has no shape of its own")
            tensor = np.frombuffer(tensor, self._dtype).reshape(self._shape)
        _check_type(self._index, self._dtype, tensor)
        if self._shape is not None and tensor.shape != self._shape:
            raise _misfit(self._index, self._shape, tensor)
        self._held = memory = sharable(tensor)
        self._request.set_input_tensor(self._index, _tensor_on(memory))

    def let_go(self) -> None:
        """The request must not refer to memory that is about to go."""
        self._request.set_input_tensor(self._index, self._own)
        self._held = None


class _SmallOutput:
    """Memory that stays, and is copied from."""

    def __init__(self, request: ov.InferRequest, index: int, port: Port) -> None:
        assert port.datatype is not None
        shape = tuple(request.get_output_tensor(index).shape)
        self.memory = np.empty(shape, port.datatype.dtype)
        request.set_output_tensor(index, _tensor_on(self.memory))

    def give(self, result: Array) -> Array:
        return self.memory.copy()


class _LargeOutput:
    """Memory that is new for each inference, written by OpenVINO and given away."""

    def __init__(self, request: ov.InferRequest, index: int, port: Port) -> None:
        assert port.datatype is not None
        self._request = request
        self._index = index
        self._own = request.get_output_tensor(index)
        self._shape = tuple(self._own.shape)
        self._dtype = port.datatype.dtype
        self._memory: Array | None = None

    def prepare(self) -> None:
        self._memory = memory = np.empty(self._shape, self._dtype)
        self._request.set_output_tensor(self._index, _tensor_on(memory))

    def give(self, result: Array) -> Array:
        assert self._memory is not None
        return self._memory

    def let_go(self) -> None:
        self._request.set_output_tensor(self._index, self._own)
        self._memory = None


class _AnyOutput:
    """Memory of OpenVINO's, whose size is known afterwards; copied from."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def give(self, result: Array) -> Array:
        return _as_said(result, self._port).copy()


_Bound: Final = (_BoundInput, _LargeOutput)
_Output: TypeAlias = _SmallOutput | _LargeOutput | _AnyOutput | TextOutput


def _give(output: _Output, result: Array) -> Array:
    return output.give(result)


class _Writable:
    """Says of an array's memory that it may be written to: OpenVINO's binding insists
    on that, and copies behind one's back if told to share what is read-only. OpenVINO
    itself does not write to inputs.
    """

    __slots__ = ("__array_interface__", "_array")

    def __init__(self, array: Array) -> None:
        interface: dict[str, Any] = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
        self._array = array


def sharable(array: Array) -> Array:
    """`array`, or a copy if its memory is laid out as OpenVINO does not read it."""
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned):
        return array.copy(order="C")
    return array if flags.writeable else np.asarray(_Writable(array))


def _input(
    request: ov.InferRequest, index: int, port: Port
) -> _SmallInput | _BoundInput | TextInput:
    if port.element_type == TEXT:
        return TextInput(request, index, port)
    if _is_static(port) and not _is_large(request.get_input_tensor(index)):
        return _SmallInput(request, index, port)
    return _BoundInput(request, index, port)


def _output(request: ov.InferRequest, index: int, port: Port) -> _Output:
    if port.element_type == TEXT:
        return TextOutput()
    if not _is_static(port):
        return _AnyOutput(port)
    if _is_large(request.get_output_tensor(index)):
        return _LargeOutput(request, index, port)
    return _SmallOutput(request, index, port)


def _as_said(array: Array, port: Port) -> Array:
    """bfloat16 looks like float16 to OpenVINO's binding."""
    return array.view(_BF16) if port.datatype is Datatype.BF16 else array


def _tensor_on(memory: Array) -> ov.Tensor:
    """A tensor of OpenVINO's that has its content there; it does not keep it alive."""
    if memory.dtype != _BF16:
        return ov.Tensor(memory, shared_memory=True)
    shape = ov.Shape(list(memory.shape))
    return ov.Tensor(memory.view(np.uint16), shape, ov.Type.bf16)


def _check_type(index: int, expected: object, array: Array) -> None:
    if array.dtype != expected:  # would be converted
        raise ValueError(f"input {index} is {expected}, the array {array.dtype}")


def _misfit(index: int, expected: tuple[int, ...], array: Array) -> ValueError:
    return ValueError(
        f"input {index} has shape {list(expected)}, the array {list(array.shape)}"
    )


def _own_input(request: ov.InferRequest, index: int, port: Port) -> ov.Tensor:
    """A tensor that the request can be left with: its own, or one of the smallest shape
    where shapes vary, because its own has only zeros then, which the port may not take.
    """
    own = request.get_input_tensor(index)
    if port.is_static or port.shape is None:
        return own
    smallest = ov.Shape([dim.minimum for dim in port.shape])
    return ov.Tensor(own.element_type, smallest)


def _static_shape(port: Port) -> tuple[int, ...] | None:
    if port.shape is None or not port.is_static:
        return None
    return tuple(dim.minimum for dim in port.shape)


def _is_static(port: Port) -> bool:
    return port.is_static and port.datatype is not None


def _is_large(tensor: ov.Tensor) -> bool:
    return tensor.byte_size >= SHARED_FROM

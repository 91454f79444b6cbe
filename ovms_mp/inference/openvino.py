"""Whatever is OpenVINO's stays behind this module: nothing else imports it.

Formats are those that `ov.Core.read_model` reads: IR, ONNX, TensorFlow (frozen graph and
SavedModel), TensorFlow Lite, PaddlePaddle.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov

from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.core.tensor import Array, Datatype
from ovms_mp.inference.engine import (
    UNBOUNDED,
    Dim,
    ModelConfig,
    Port,
    Ports,
    Property,
    file_name,
)
from ovms_mp.inference.model import PooledModel
from ovms_mp.inference.plugin_config import (
    MMAP,
    STREAMS,
    UnsupportedProperty,
    device_names,
    effective,
)
from ovms_mp.inference.probe import Probe
from ovms_mp.inference.threads import Threads

# Measured through a whole server: below, a copy between OpenVINO's memory and ours costs
# less than to bind ours to it; above, it costs more.
SHARED_FROM: Final = 1_000_000

_NONE: Final[Mapping[int, Array]] = {}

_DATATYPES: Final[Mapping[str, Datatype]] = {
    "boolean": Datatype.BOOL,
    "u8": Datatype.UINT8,
    "u16": Datatype.UINT16,
    "u32": Datatype.UINT32,
    "u64": Datatype.UINT64,
    "i8": Datatype.INT8,
    "i16": Datatype.INT16,
    "i32": Datatype.INT32,
    "i64": Datatype.INT64,
    "f16": Datatype.FP16,
    "f32": Datatype.FP32,
    "f64": Datatype.FP64,
}
_WHERE_IT_FAILED: Final = re.compile(
    r"(?:Exception from|Check '.*' failed at) \S+:\d+:?(?:\s|$)"
)

_NO_PROPERTIES: Final[Mapping[str, Property]] = {}

_log = logging.getLogger(__name__)


class OpenVINOEngine:
    """Loads models into one ov.Core, if a `probe` finds that they can be read without
    harm. Thread-safe.
    """

    def __init__(self, probe: Probe | None = None) -> None:
        self._core = ov.Core()
        self._threads = Threads("inference")
        self._probe = probe

    def load(self, path: Path, config: ModelConfig) -> PooledModel:
        """See engine.Engine."""
        _check_file(path)
        properties = self._properties(path, config)
        if self._probe is not None:
            self._probe.check(path)
        status = Status.MODEL_NOT_LOADED
        try:
            # What concerns reading is not for compiling.
            reading = {key: properties.pop(key) for key in (MMAP,) if key in properties}
            model = self.read(path, reading)
            status = Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE
            compiled = self._core.compile_model(model, config.target_device, properties)
            inputs = ports_of(model.inputs, compiled.inputs, "in")
            outputs = ports_of(model.outputs, compiled.outputs, "out")
            slots = _slots(compiled, inputs, outputs, config.nireq)
        except Exception as error:  # whatever a foreign file made a reader do
            raise _load_error(status, path, error) from error
        streams = _streams(compiled)
        return PooledModel(inputs, outputs, slots, self._threads, streams)

    def close(self) -> None:
        """See engine.Engine."""
        self._threads.close()
        if self._probe is not None:
            self._probe.close()

    def _properties(self, path: Path, config: ModelConfig) -> dict[str, Property]:
        supported: set[str] = set()
        try:
            for device in device_names(config.target_device):
                supported |= set(
                    self._core.get_property(device, "SUPPORTED_PROPERTIES")
                )
            return effective(config.plugin_config, supported)
        except RuntimeError as error:
            status = Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE
            raise _load_error(status, path, error) from error
        except UnsupportedProperty as error:
            raise _load_error(Status.MODEL_NOT_LOADED, path, error) from error

    def read(
        self, path: Path, properties: Mapping[str, Property] = _NO_PROPERTIES
    ) -> ov.Model:
        """The model in a file. Raises RuntimeError, and what the binding makes of other
        errors: UnicodeDecodeError where OpenVINO's text quotes a file's bytes.
        """
        # Absolute, so that a path in OpenVINO's messages can be recognised as one.
        model = self._core.read_model(path.absolute(), config=dict(properties))  # pyright: ignore[reportUnknownMemberType]  # no types in its stub
        if not model.outputs:  # what becomes of an empty PaddlePaddle file
            raise RuntimeError("the model has no outputs")
        return model


class InferSlot:
    """One infer request of OpenVINO's, and what it takes to hand data to it safely.

    Memory that changes hands without a copy (inputs that are large or of any shape,
    large outputs of one shape) is bound to the request for one inference only: a tensor
    of OpenVINO's does not keep the memory alive that it was made from.
    """

    def __init__(self, request: ov.InferRequest, inputs: Ports, outputs: Ports) -> None:
        self._request = request
        self._dtypes = [port.datatype and port.datatype.dtype for port in inputs]
        own_inputs = [
            _own_input(request, index, port) for index, port in enumerate(inputs)
        ]
        self._copied_to = [
            tensor.data if _is_static(port) and not _is_large(tensor) else None
            for port, tensor in zip(inputs, own_inputs, strict=True)
        ]
        self._bound_inputs = [
            (index, own_inputs[index])
            for index, copied_to in enumerate(self._copied_to)
            if copied_to is None
        ]
        self._bound_outputs = [
            (index, tensor)
            for index, port in enumerate(outputs)
            if _is_static(port)
            and _is_large(tensor := request.get_output_tensor(index))
        ]
        self._large = [
            (index, tuple(tensor.shape), np.dtype(tensor.element_type.to_dtype()))
            for index, tensor in self._bound_outputs
        ]

    def infer(self, tensors: Sequence[Array]) -> tuple[Array, ...]:
        """See model.Slot. Raises ServingError when OpenVINO fails, and ValueError for
        arrays that do not fit.
        """
        if len(tensors) != len(self._dtypes):
            raise ValueError(f"{len(self._dtypes)} inputs, {len(tensors)} arrays")
        held: list[Array] = []
        try:
            for index, array in enumerate(tensors):
                self._bind(index, array, held)
            large = self._bind_outputs()
            results: Any = self._request.infer(share_outputs=True)
            outputs: tuple[Array, ...] = results.to_tuple()
            return tuple(
                large[index] if index in large else output.copy()
                for index, output in enumerate(outputs)
            )
        except (RuntimeError, UnicodeDecodeError) as error:
            status = Status.OV_INTERNAL_INFERENCE_ERROR
            raise ServingError(status, _reason(error)) from error
        finally:
            for index, own in self._bound_inputs:
                self._request.set_input_tensor(index, own)
            for index, own in self._bound_outputs:
                self._request.set_output_tensor(index, own)

    def cancel(self) -> None:
        """See model.Slot: OpenVINO stops before the model's next operation."""
        self._request.cancel()

    def _bind(self, index: int, array: Array, held: list[Array]) -> None:
        """Hand an input over, whose memory must live until `held` does not."""
        dtype, copied_to = self._dtypes[index], self._copied_to[index]
        if array.dtype != dtype:  # would be converted
            raise ValueError(f"input {index} is {dtype}, the array {array.dtype}")
        if copied_to is None:
            memory = sharable(array)
            held.append(memory)
            tensor = ov.Tensor(memory, shared_memory=True)
            self._request.set_input_tensor(index, tensor)
        elif array.shape == copied_to.shape:
            np.copyto(copied_to, array)
        else:  # would be broadcast
            expected, actual = list(copied_to.shape), list(array.shape)
            raise ValueError(f"input {index} has shape {expected}, the array {actual}")

    def _bind_outputs(self) -> Mapping[int, Array]:
        """New memory for large outputs, where OpenVINO then writes them itself."""
        if not self._large:
            return _NONE
        memories = {
            index: np.empty(shape, dtype) for index, shape, dtype in self._large
        }
        for index, memory in memories.items():
            tensor = ov.Tensor(memory, shared_memory=True)
            self._request.set_output_tensor(index, tensor)
        return memories


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


def _own_input(request: ov.InferRequest, index: int, port: Port) -> ov.Tensor:
    """A tensor that the request can be left with: its own, or one of the smallest shape
    where shapes vary, because its own has only zeros then, which the port may not take.
    """
    own = request.get_input_tensor(index)
    if port.is_static or port.shape is None:
        return own
    smallest = ov.Shape([dim.minimum for dim in port.shape])
    return ov.Tensor(own.element_type, smallest)


def _is_static(port: Port) -> bool:
    return port.is_static and port.datatype is not None


def _is_large(tensor: ov.Tensor) -> bool:
    return tensor.byte_size >= SHARED_FROM


def ports_of(read: Sequence[Any], compiled: Sequence[Any], unnamed: str) -> Ports:
    """Ports that go by the names in the file, of which the published one is chosen, and
    by those that compiling adds.

    Two outputs of one tensor share its names; the second is published by its number, as
    is a port without a name.
    """
    ports: list[Port] = []
    taken: set[str] = set()
    for index, (in_file, port) in enumerate(zip(read, compiled, strict=True)):
        names: frozenset[str] = frozenset(in_file.get_names())
        name = published_name(names - taken) or f"{unnamed}_{index}"
        taken.add(name)
        element_type: str = port.get_element_type().get_type_name()
        ports.append(
            Port(
                name=name,
                names=names | port.get_names(),
                datatype=_DATATYPES.get(element_type),
                element_type=element_type,
                shape=_shape(port.get_partial_shape()),
            )
        )
    return Ports(ports)


def published_name(names: AbstractSet[str]) -> str | None:
    """The first name, in the order of characters, that is not a path; where there are
    only paths, the first one. OVMS publishes the first one, path or not.
    """
    return min(names, key=lambda name: ("/" in name, name), default=None)


def _shape(shape: ov.PartialShape) -> tuple[Dim, ...] | None:
    if shape.rank.is_dynamic:
        return None
    # For no limit OpenVINO says -1 as well.
    return tuple(Dim(dim.min_length, max(dim.max_length, UNBOUNDED)) for dim in shape)


def _slots(
    compiled: ov.CompiledModel, inputs: Ports, outputs: Ports, nireq: int
) -> list[InferSlot]:
    count = nireq or compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    return [
        InferSlot(compiled.create_infer_request(), inputs, outputs)
        for _ in range(count)
    ]


def _streams(compiled: ov.CompiledModel) -> int:
    try:
        return int(compiled.get_property(STREAMS))
    except (RuntimeError, TypeError, ValueError):
        return 0  # a device that has none, or one made of several


def _check_file(path: Path) -> None:
    """Say what OpenVINO has no word for: to it, such a file is of an unknown format."""
    content = path / file_name(path) if path.is_dir() else path
    try:
        with content.open("rb") as file:
            is_empty = not file.read(1)
    except FileNotFoundError:
        raise ServingError(Status.FILE_INVALID, content.name) from None
    except OSError as error:
        details = f"{content.name}: {error.strerror}"
        raise ServingError(Status.FILE_INVALID, details) from error
    if is_empty:
        details = f"{content.name}: the file is empty"
        raise ServingError(Status.MODEL_NOT_LOADED, details)


def _load_error(status: Status, path: Path, error: Exception) -> ServingError:
    _log.error("loading %s failed: %s", path, _text(error))
    return ServingError(status, public_text(f"{file_name(path)}: {_reason(error)}"))


def _reason(error: Exception) -> str:
    """What OpenVINO says, without where in its sources it says so; one line."""
    text = _text(error)
    return public_text(_WHERE_IT_FAILED.sub("", text)) or public_text(text)


def _text(error: Exception) -> str:
    """What OpenVINO says, also where it quotes a file's bytes that are no text, over
    which its binding stumbles.
    """
    if isinstance(error, UnicodeDecodeError):
        return error.object.decode(errors="replace")
    return str(error)

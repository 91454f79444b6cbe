"""EfficientNet-Lite0 from the weights of a PyTorch checkpoint, without PyTorch: what the
checkpoint holds is read as data, and the network is put together from OpenVINO's own
operations, its batch norms folded into the convolutions.

Architecture: Tan and Le, EfficientNet (arXiv 1905.11946), in the Lite variant without
squeeze and excitation, with ReLU6.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

Weights = Mapping[str, NDArray[Any]]

_DTYPES: Final = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
_EPSILON: Final = 1e-3
_STEM: Final = 32


class Stage(NamedTuple):
    """Blocks of one shape; the first one strides."""

    expansion: int
    channels: int
    repeats: int
    stride: int


STAGES: Final = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 40, 2, 2),
    Stage(6, 80, 3, 2),
    Stage(6, 112, 3, 1),
    Stage(6, 192, 4, 2),
    Stage(6, 320, 1, 1),
)


class _Tensor(NamedTuple):
    """Where a tensor lies in a storage, as the checkpoint says it."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements."""


class _Reader(pickle.Unpickler):
    """Knows the few names that a checkpoint of tensors needs, and runs nothing else."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.dtypes: dict[str, np.dtype[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *said: _Tensor(*said[:4])
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(
            f"a checkpoint has no business with {module}.{name}"
        )

    def persistent_load(self, pid: Any) -> str:
        _, kind, key, *_ = pid
        self.dtypes[key] = _DTYPES[kind]
        return key


def read_checkpoint(path: Path) -> Weights:
    """The tensors of a checkpoint in PyTorch's format of before version 1.6."""
    with path.open("rb") as file:
        for _ in range(3):  # a magic number, the protocol, the machine that wrote it
            _Reader(file).load()
        reader = _Reader(file)
        tensors: Mapping[str, _Tensor] = reader.load()
        storages: dict[str, NDArray[Any]] = {}
        for key in _Reader(file).load():
            count = int.from_bytes(file.read(8), "little")
            storages[key] = np.fromfile(file, reader.dtypes[key], count)
    return {
        name: _placed(storages[each.storage][each.offset :], each)
        for name, each in tensors.items()
    }


def _placed(storage: NDArray[Any], tensor: _Tensor) -> NDArray[Any]:
    strides = [stride * storage.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(storage, tensor.shape, strides)
    return np.ascontiguousarray(view)


class _Network:
    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def convolution(
        self,
        x: ov.Node,
        name: str,
        norm: str,
        stride: int = 1,
        *,
        is_depthwise: bool = False,
        is_linear: bool = False,
    ) -> ov.Node:
        """Convolution, its batch norm, and ReLU6 unless it is linear."""
        weights = self._weights
        scale = weights[f"{norm}.weight"] / np.sqrt(
            weights[f"{norm}.running_var"] + _EPSILON
        )
        shift = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
        kernel = weights[f"{name}.weight"] * scale[:, None, None, None]
        if is_depthwise:
            kernel = kernel[:, None]
        make = op.group_convolution if is_depthwise else op.convolution
        constant = op.constant(np.ascontiguousarray(kernel, np.float32))
        strides, none, ones = [stride] * 2, [0, 0], [1, 1]
        y = make(x, constant, strides, none, none, ones, auto_pad="same_upper")
        y = op.add(y, op.constant(shift.astype(np.float32).reshape(1, -1, 1, 1)))
        return y if is_linear else op.clamp(y, 0.0, 6.0)

    def block(
        self, x: ov.Node, number: int, stage: Stage, *, is_first: bool
    ) -> ov.Node:
        """An inverted residual."""
        name = f"_blocks.{number}."
        stride = stage.stride if is_first else 1
        y = x
        if stage.expansion > 1:
            y = self.convolution(y, f"{name}_expand_conv", f"{name}_bn0")
        y = self.convolution(
            y, f"{name}_depthwise_conv", f"{name}_bn1", stride, is_depthwise=True
        )
        y = self.convolution(y, f"{name}_project_conv", f"{name}_bn2", is_linear=True)
        return y if is_first else op.add(y, x)

    def dense(self, x: ov.Node, name: str) -> ov.Node:
        weight = op.constant(self._weights[f"{name}.weight"])
        bias = op.constant(self._weights[f"{name}.bias"][None])
        return op.add(op.matmul(x, weight, False, True), bias)


def build(weights: Weights) -> ov.Model:
    """Input `input` FP32 [1,3,224,224], RGB as (x - 127) / 128; output `probabilities`
    [1,1000], of ImageNet's classes.
    """
    network = _Network(weights)
    pixels = op.parameter(ov.Shape([1, 3, 224, 224]), np.float32)
    pixels.output(0).set_names({"input"})
    x = network.convolution(pixels, "_conv_stem", "_bn0", 2)
    number = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            x = network.block(x, number, stage, is_first=repeat == 0)
            number += 1
    x = network.convolution(x, "_conv_head", "_bn1")
    x = op.reduce_mean(x, op.constant(np.array([2, 3], np.int64)), False)
    y = op.softmax(network.dense(x, "_fc"), 1)
    y.output(0).set_names({"probabilities"})
    return ov.Model([y], [pixels], "efficientnet_lite0")  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]  # its stub binds no constructor

"""Small models, built with OpenVINO's own API and saved as IR, each for one property."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino._offline_transformations import apply_make_stateful_transformation

from ovms_mp.inference.engine import ModelConfig

Shape = Sequence[int | tuple[int, int]]

# Answers are compared: no bfloat16, whatever this machine's CPU prefers.
EXACT = ModelConfig(plugin_config={"INFERENCE_PRECISION_HINT": "f32"})


def model(outputs: Sequence[ov.Node], inputs: Sequence[ov.Node]) -> ov.Model:
    return ov.Model(list(outputs), list(inputs))  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]  # its stub binds no constructor


def save(folder: Path, made: ov.Model, name: str = "model") -> Path:
    path = folder / f"{name}.xml"
    ov.save_model(made, path, compress_to_fp16=False)
    return path


def parameter(
    name: str | set[str], shape: Shape | None, dtype: Any = np.float32
) -> ov.Node:
    partial = (
        ov.PartialShape.dynamic()
        if shape is None
        else ov.PartialShape([ov.Dimension(*_dim(length)) for length in shape])
    )
    node = op.parameter(partial, dtype)
    node.output(0).set_names({name} if isinstance(name, str) else name)
    return node


def named(node: ov.Node, name: str | set[str]) -> ov.Node:
    node.output(0).set_names({name} if isinstance(name, str) else name)
    return node


def add_one(shape: Shape | None = (1, 10), dtype: Any = np.float32) -> ov.Model:
    """y = x + 1."""
    x = parameter("x", shape, dtype)
    return model([named(op.add(x, op.constant(np.ones((), dtype))), "y")], [x])


def twice(shape: Shape, dtype: Any) -> ov.Model:
    """y = x, x one below the other; for any type of element."""
    x = parameter("x", shape, dtype)
    return model([named(op.concat([x, x], 0), "y")], [x])


def total(shape: Shape, dtype: Any = np.float32) -> ov.Model:
    """y = the sum over the last axis."""
    x = parameter("x", shape, dtype)
    axis = op.constant(np.array([len(shape) - 1], np.int64))
    return model([named(op.reduce_sum(x, axis), "y")], [x])


def into_two_by_three() -> ov.Model:
    """Takes a vector of any length, fails to infer unless it is six."""
    x = parameter("x", (-1,))
    shape = op.constant(np.array([2, 3], np.int64))
    return model([named(op.reshape(x, shape, False), "y")], [x])


def slow(steps: int = 200, size: int = 512) -> ov.Model:
    """Half a second or so of many operations, between which OpenVINO can be stopped."""
    x = y = parameter("x", (size, size))
    weights = op.constant(np.full((size, size), 1 / size, np.float32))
    for _ in range(steps):
        y = op.tanh(op.matmul(y, weights, False, False))
    return model([named(y, "y")], [x])


def two_inputs() -> ov.Model:
    """Ports whose order in the model is not that of their names: takes `b` FP32 [1,3]
    and `a` INT64 [1,2]; gives `sum` (of b) and `double` (of a).
    """
    b = parameter("b", (1, 3))
    a = parameter("a", (1, 2), np.int64)
    axis = op.constant(np.array([1], np.int64))
    total_of_b = named(op.reduce_sum(b, axis), "sum")
    double = named(op.add(a, a), "double")
    return model([total_of_b, double], [b, a])


def looped(steps: int = 1) -> ov.Model:
    """y[:, i] = the sum of x[:, 0] to x[:, i], added up by a loop over [1, steps, 4]."""
    x = parameter("x", (1, steps, 4))
    one, before = parameter("one", (1, 1, 4)), parameter("before", (1, 1, 4))
    after = op.add(one, before)
    loop: Any = op.tensor_iterator()
    shown = op.relu(after)
    loop.set_function(model([after, shown], [one, before]))
    loop.set_sliced_input(one, x.output(0), 0, 1, 1, -1, 1)
    nothing = op.constant(np.zeros((1, 1, 4), np.float32))
    loop.set_merged_input(before, nothing.output(0), after.output(0))
    loop.get_iter_value(after.output(0), -1)
    y = loop.get_concatenated_slices(shown.output(0), 0, 1, 1, -1, 1)
    y.set_names({"y"})
    return model([op.result(y)], [x])


def _dim(length: int | tuple[int, int]) -> tuple[int, ...]:
    return length if isinstance(length, tuple) else (length,)


def running_total(shape: Shape = (1, 4)) -> ov.Model:
    """y = x + the sum of all x before, which the model remembers."""
    x, before = parameter("x", shape), parameter("before", shape)
    y = named(op.add(x, before), "y")
    after = named(op.add(y, op.constant(np.zeros((1,), np.float32))), "after")
    made = model([y, after], [x, before])
    apply_make_stateful_transformation(made, {"before": "after"})
    return made

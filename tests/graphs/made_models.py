"""Models that take what others take and give what nobody wants."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

_MODEL: Final[Any] = ov.Model  # its stub binds no constructor

Floats = NDArray[np.float32]
Give = Callable[[str, tuple[int, ...]], Floats | None]
"""What an output of that name and shape shall be; None leaves it out."""


def replace(folder: Path, give: Give, size: tuple[int, ...] | None = None) -> None:
    """Put another model into `folder`, `<name>/<version>`, in place of the one that is
    there: with inputs of its names, and of its shapes unless `size` is another one, in
    which -1 is any length.
    """
    (real,) = (
        each for each in folder.iterdir() if each.suffix in {".tflite", ".xml", ".onnx"}
    )
    model = ov.Core().read_model(real)
    taken = size or tuple(model.input(0).shape)
    image = op.parameter(list(taken), np.float32)
    # Nothing of it is left, but it is asked for.
    nothing = op.multiply(op.reduce_sum(image, np.arange(len(taken))), np.float32(0))
    results: list[Any] = []
    for output in model.outputs:
        name = output.any_name
        values = give(name, tuple(output.shape))
        if values is not None:
            result = op.result(op.add(op.constant(values), nothing))
            result.output(0).set_names({name})
            results.append(result)
    made = _MODEL(results, [image], real.stem)
    made.validate_nodes_and_infer_types()
    image.output(0).set_names(model.input(0).names)
    shutil.rmtree(folder)
    folder.mkdir()
    ov.save_model(made, folder / "model.xml", compress_to_fp16=False)


def always(value: float) -> Give:
    return lambda _, shape: np.full(shape, value, np.float32)


def sure_of(value: float) -> Give:
    """That there is something, which is where nothing can be."""
    return lambda _, shape: np.full(shape, 100 if shape[-1] == 1 else value, np.float32)

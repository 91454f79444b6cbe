"""Nodes with handlers, as users write them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from ovms_mp_calculators.python_executor import PythonExecutorCalculator

from ovms_mp.core.errors import ServingError
from ovms_mp.graph.runner import CalculatorRunner

ONE = 'input_stream: "IN:in" output_stream: "OUT:out"'
INCREMENT = """
from pyovms import Tensor
import numpy as np

class OvmsPythonModel:
    def execute(self, inputs):
        return [Tensor("out", np.array(inputs[0]) + 1)]
"""


def node(
    folder: Path,
    code: str | None,
    streams: str = ONE,
    *,
    name: str = "worker",
    handler_path: str = "handler.py",
    side: str = 'input_side_packet: "PYTHON_NODE_RESOURCES:py"',
) -> CalculatorRunner:
    if code is not None:
        (folder / "handler.py").write_text(dedent(code))
    options = "mediapipe.PythonExecutorCalculatorOptions"
    return CalculatorRunner(
        PythonExecutorCalculator,
        f'name: "{name}" calculator: "PythonExecutorCalculator" {side} {streams} '
        f"node_options: {{ [type.googleapis.com/{options}]: "
        f'{{ handler_path: "{handler_path}" }} }}',
        base_path=folder,
    )


def refused(folder: Path, code: str | None, **options: str) -> ServingError:
    with pytest.raises(ServingError) as caught:
        node(folder, code, **options)
    return caught.value


def chain(*handler_paths: str) -> str:
    """A graph of nodes n1, n2, … between the streams s0, s1, s2, …"""
    nodes = "".join(
        f"""
        node {{ name: "n{number}" calculator: "PythonExecutorCalculator"
               input_side_packet: "PYTHON_NODE_RESOURCES:py"
               input_stream: "IN:s{number - 1}" output_stream: "OUT:s{number}"
               node_options: {{
                 [type.googleapis.com/mediapipe.PythonExecutorCalculatorOptions]: {{
                   handler_path: "{path}" }} }} }}
        """
        for number, path in enumerate(handler_paths, start=1)
    )
    ends = f'input_stream: "s0" output_stream: "s{len(handler_paths)}"'
    return f"{ends} {nodes}"

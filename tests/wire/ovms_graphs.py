"""Graphs of OVMS's own tests of its streams, with counterparts of their calculators."""

from __future__ import annotations

from typing import Final

from tests.wire import zoo

CALCULATORS: Final = '''
"""Counterparts of the calculators of OVMS's tests."""

from typing import Any

import numpy as np

from ovms_mp.calculator import (
    Calculator, CalculatorError, Context, Input, Inputs, Output, Outputs, SideInput
)


class PlusOneCalculator(Calculator):
    value = Input(np.ndarray)
    more = Output(np.ndarray)

    def process(self, ctx: Context) -> None:
        ctx.send(self.more, ctx[self.value] + 1)


class ThreeTimesRoundCalculator(Calculator):
    """Adds one, sends, and feeds itself until three have been sent."""

    value = Input(np.ndarray, "IN")
    signal = Input(np.ndarray, "SIGNAL")
    more = Output(np.ndarray, "OUT")
    again = Output(np.ndarray, "SIGNAL")

    def open(self, ctx: Context) -> None:
        self.left = 3

    def process(self, ctx: Context) -> None:
        if ctx.has(self.value):
            value = ctx[self.value]
        else:
            value = ctx[self.signal]
        if self.left:
            self.left -= 1
            ctx.send(self.more, value + 1)
            ctx.send(self.again, value + 1, at=ctx.timestamp + 1)


class PlusOneTwoThreeCalculator(Calculator):
    """The n-th output is the n-th input and n."""

    ins = Inputs(np.ndarray, "IN")
    outs = Outputs(np.ndarray, "OUT")

    def process(self, ctx: Context) -> None:
        for number, (source, target) in enumerate(zip(self.ins, self.outs), 1):
            ctx.send(target, ctx[source] + number)


class PlusSidePacketCalculator(Calculator):
    value = Input(np.ndarray)
    more = Output(np.ndarray)
    step = SideInput(int)

    def process(self, ctx: Context) -> None:
        ctx.send(self.more, ctx[self.value] + np.float32(ctx.side(self.step)))


class AlwaysFailsCalculator(Calculator):
    value = Input(np.ndarray)
    more = Output(np.ndarray)

    def process(self, ctx: Context) -> None:
        raise RuntimeError("this calculator never works")


class NotYetCalculator(Calculator):
    """Fails as OVMS's session calculator does when its model is not there."""

    value = Input(np.ndarray)
    more = Output(np.ndarray)

    def process(self, ctx: Context) -> None:
        raise CalculatorError("what it needs is not there", "FAILED_PRECONDITION")


class TotalAtCloseCalculator(Calculator):
    """Sends nothing but the sum of all it took, when there is no more to come."""

    value = Input(np.ndarray)
    total = Output(np.ndarray)

    def open(self, ctx: Context) -> None:
        self.total_of_all = np.zeros(1, np.float32)

    def process(self, ctx: Context) -> None:
        self.total_of_all = self.total_of_all + ctx[self.value]

    def close(self, ctx: Context) -> None:
        ctx.send(self.total, self.total_of_all, at=100)
'''

GROWING: Final = """
import numpy as np
from pyovms import Tensor

class OvmsPythonModel:
    def initialize(self, kwargs):
        self.outputs = sorted(
            name for name in kwargs["output_names"] if "loop" not in name
        )

    def execute(self, inputs):
        values = [np.array(each) for each in inputs]
        for step in range(1, 4):
            yield [
                Tensor(name, value + np.float32(step))
                for name, value in zip(self.outputs, values)
            ]
"""
ONCE: Final = """
import numpy as np
from pyovms import Tensor

class OvmsPythonModel:
    def initialize(self, kwargs):
        self.outputs = kwargs["output_names"]

    def execute(self, inputs):
        return [
            Tensor(name.replace("in", "out"), np.array(each) + np.float32(1))
            for name, each in zip(self.outputs, inputs)
        ]
"""
BY_NAME: Final = """
import numpy as np
from pyovms import Tensor

class OvmsPythonModel:
    def execute(self, inputs):
        return [
            Tensor(each.name.replace("in", "out"), np.array(each) + np.float32(1))
            for each in inputs
        ]
"""
RETURNS: Final = """
class OvmsPythonModel:
    def execute(self, inputs):
        return %s
"""

BACK_EDGE: Final = """
  input_stream_info { tag_index: "%s" back_edge: true }
  input_stream_handler {
    input_stream_handler: "SyncSetInputStreamHandler"
    options {
      [mediapipe.SyncSetInputStreamHandlerOptions.ext] { sync_set { tag_index: "%s" } }
    }
  }
"""
IMMEDIATE: Final = """
  input_stream_handler { input_stream_handler: "ImmediateInputStreamHandler" }
"""
POOL: Final = "# OVMS_GRAPH_QUEUE_MAX_SIZE: 1\n"
OUTSIDE: Final = "isolation: PROCESS"


def single(calculator: str, more: str = "") -> str:
    return zoo.graph(
        ["in"],
        ["out"],
        zoo.node(calculator, 'input_stream: "in"', 'output_stream: "out"', more),
    )


OLD_FORM: Final = """
  options: {
    [mediapipe.PythonExecutorCalculatorOptions.ext]: { handler_path: "%s.py" %s }
  }
"""


def python(
    handler: str,
    count: int,
    *more: str,
    loop: bool = False,
    options: str = "",
    is_old_form: bool = False,
) -> str:
    """Streams in1.. and out1.. through one Python node; `more` are lines of it, and
    `options` its other options. In the old form these stand in `options`, else in
    `node_options`.
    """
    numbers = range(1, count + 1)
    lines = [
        'input_side_packet: "PYTHON_NODE_RESOURCES:py"',
        *(f'input_stream: "IN{n}:in{n}"' for n in numbers),
        *(f'output_stream: "OUT{n}:out{n}"' for n in numbers),
        *more,
    ]
    if loop:
        lines += ['input_stream: "LOOPBACK:loop"', 'output_stream: "LOOPBACK:loop"']
        lines.append(BACK_EDGE % ("LOOPBACK:0", "LOOPBACK:0"))
    if is_old_form:
        lines.append(OLD_FORM % (handler, options))
    new_form = (
        f'mediapipe.PythonExecutorCalculatorOptions handler_path: "{handler}.py" '
        f"{options}"
    )
    return zoo.graph(
        [f"OVMS_PY_TENSOR{n}:in{n}" for n in numbers],
        [f"OVMS_PY_TENSOR{n}:out{n}" for n in numbers],
        zoo.node(
            "PythonExecutorCalculator",
            *lines,
            options="" if is_old_form else new_form,
            name="grower",
        ),
    )


def converting() -> str:
    """Arrays in and out, a Python node between them."""

    def convert(source: str, target: str, option: str) -> str:
        return zoo.node(
            "PyTensorOvTensorConverterCalculator",
            f'input_stream: "{source}"',
            f'output_stream: "{target}"',
            options=f"mediapipe.PyTensorOvTensorConverterCalculatorOptions {option}",
        )

    name = 'tag_to_output_tensor_names { key: "OVMS_PY_TENSOR" value: "in1" }'
    return zoo.graph(
        ["OVTENSOR:in"],
        ["OVTENSOR:out"],
        convert("OVTENSOR:in", "OVMS_PY_TENSOR:in1", name),
        python("once", 1).partition("node")[2].join(["node", ""]),
        convert("OVMS_PY_TENSOR:out1", "OVTENSOR:out", ""),
    )


LOOP: Final = zoo.graph(
    ["in"],
    ["out"],
    zoo.node(
        "ThreeTimesRoundCalculator",
        'input_stream: "IN:in"',
        'input_stream: "SIGNAL:signal"',
        'output_stream: "OUT:out"',
        'output_stream: "SIGNAL:signal"',
        BACK_EDGE % ("SIGNAL:0", "SIGNAL:0"),
    ),
)
THREE: Final = zoo.graph(
    ["in1", "in2", "in3"],
    ["out1", "out2", "out3"],
    zoo.node(
        "PlusOneTwoThreeCalculator",
        *(f'input_stream: "IN:{n - 1}:in{n}"' for n in (1, 2, 3)),
        *(f'output_stream: "OUT:{n - 1}:out{n}"' for n in (1, 2, 3)),
    ),
)
SIDE: Final = 'input_side_packet: "step"\n' + single(
    "PlusSidePacketCalculator", 'input_side_packet: "step"'
)
GRAPHS: Final = {
    "plus": single("PlusOneCalculator"),
    "pooled_plus": POOL + single("PlusOneCalculator"),
    "loop": LOOP,
    "pooled_loop": POOL + LOOP,
    "three": THREE,
    "side": SIDE,
    "fails": single("AlwaysFailsCalculator"),
    "unknown": single("NoSuchCalculator"),
    "not_yet": single("NotYetCalculator"),
    "once": python("once", 1),
    "once_in_old_form": python("once", 1, is_old_form=True),
    "once_outside_in_old_form": python("once", 1, options=OUTSIDE, is_old_form=True),
    "incomplete": python("once", 2),
    "immediate": python("by_name", 2, IMMEDIATE),
    "converted": converting(),
    "growing": python("growing", 1, loop=True),
    "growing_two": python("growing", 2, loop=True),
    "growing_free": python("growing", 1),
    "none": python("none", 1),
    "strange": python("strange", 1),
}
HANDLERS: Final = {
    "once": ONCE,
    "by_name": BY_NAME,
    "growing": GROWING,
    "none": RETURNS % "None",
    "strange": RETURNS % "[1]",
}

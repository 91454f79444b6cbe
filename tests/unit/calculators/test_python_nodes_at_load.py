"""What is wrong with a Python node is OVMS's status when its graph is loaded."""

from __future__ import annotations

import pytest

from ovms_mp.calculator import Services
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.graph import builder, config
from ovms_mp.graph.registry import Registry

HANDLER = """
class OvmsPythonModel:
    def execute(self, inputs):
        return inputs
"""


def node(name='name: "one"', *, source="a", target="b", path="handler.py"):
    options = (
        "node_options: { [type.googleapis.com/mediapipe.PythonExecutorCalculatorOptions]: "
        f'{{ handler_path: "{path}" }} }}'
    )
    return (
        f'node {{ {name} calculator: "PythonExecutorCalculator" '
        'input_side_packet: "PYTHON_NODE_RESOURCES:py" '
        f'input_stream: "IN:{source}" output_stream: "OUT:{target}" '
        f"{options if path else ''} }}\n"
    )


def load(tmp_path, *nodes):
    (tmp_path / "handler.py").write_text(HANDLER)
    text = 'input_stream: "OVMS_PY_TENSOR:a"\n' + "".join(nodes)
    parsed = config.parse(text.encode(), "graph.pbtxt")
    return builder.load(parsed, Registry.installed(), tmp_path, Services())


def test_a_good_node_loads(tmp_path):
    load(tmp_path, node()).unload()


@pytest.mark.parametrize(
    ("nodes", "line", "status"),
    [
        ((node(""),), 2, Status.PYTHON_NODE_MISSING_NAME),
        ((node(path=""),), 2, Status.PYTHON_NODE_MISSING_OPTIONS),
        ((node(path="nope.py"),), 2, Status.PYTHON_NODE_FILE_DOES_NOT_EXIST),
        (
            (node(), node(source="b", target="c")),
            3,
            Status.PYTHON_NODE_NAME_ALREADY_EXISTS,
        ),
    ],
)
def test_a_bad_node_is_refused_with_its_line(tmp_path, nodes, line, status):
    with pytest.raises(ServingError) as caught:
        load(tmp_path, *nodes)
    assert caught.value.status is status
    assert f"graph.pbtxt:{line}: " in caught.value.text


def test_a_node_may_be_named_as_its_calculator(tmp_path):
    load(tmp_path, node('name: "PythonExecutorCalculator"')).unload()

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
OPTIONS = "mediapipe.PythonExecutorCalculatorOptions"


def new_form(path):
    return f'node_options: {{ [type.googleapis.com/{OPTIONS}]: {{ handler_path: "{path}" }} }}'


def old_form(path):
    return f'options: {{ [{OPTIONS}.ext]: {{ handler_path: "{path}" }} }}'


GOOD = new_form("handler.py")
EMPTY = f"node_options: {{ [type.googleapis.com / {OPTIONS}]: {{}} }}"


def node(name='name: "one"', *, source="a", target="b", options=GOOD):
    return (
        f'node {{ {name} calculator: "PythonExecutorCalculator" '
        'input_side_packet: "PYTHON_NODE_RESOURCES:py" '
        f'input_stream: "IN:{source}" output_stream: "OUT:{target}" {options} }}\n'
    )


def load(tmp_path, *nodes):
    (tmp_path / "handler.py").write_text(HANDLER)
    text = 'input_stream: "OVMS_PY_TENSOR:a"\n' + "".join(nodes)
    parsed = config.parse(text.encode(), "graph.pbtxt")
    return builder.load(parsed, Registry.installed(), tmp_path, Services())


@pytest.mark.parametrize("options", [GOOD, old_form("handler.py")])
def test_a_good_node_loads(tmp_path, options):
    load(tmp_path, node(options=options)).unload()


@pytest.mark.parametrize(
    ("nodes", "line", "status"),
    [
        ((node(""),), 2, Status.PYTHON_NODE_MISSING_NAME),
        ((node(options=""),), 2, Status.PYTHON_NODE_MISSING_OPTIONS),
        ((node(options=EMPTY),), 2, Status.MEDIAPIPE_GRAPH_CONFIG_FILE_INVALID),
        (
            (node(options=new_form("nope.py")),),
            2,
            Status.PYTHON_NODE_FILE_DOES_NOT_EXIST,
        ),
        (
            (node(options=old_form("nope.py")),),
            2,
            Status.PYTHON_NODE_FILE_DOES_NOT_EXIST,
        ),
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


LOOP = 'input_stream: "LOOPBACK:loop" output_stream: "LOOPBACK:loop"'
BACK_EDGE = 'input_stream_info: {{ tag_index: "LOOPBACK:{}" back_edge: {} }}'
SYNC_SET = """
input_stream_handler {{
  input_stream_handler: "SyncSetInputStreamHandler"
  options {{
    [mediapipe.SyncSetInputStreamHandlerOptions.ext] {{
      sync_set {{ tag_index: "LOOPBACK:{}" }}
    }}
  }}
}}"""
RIGHT = BACK_EDGE.format(0, "true") + SYNC_SET.format(0)


def test_a_loop_that_is_wired_as_ovms_says_loads(tmp_path):
    load(tmp_path, node(options=f"{GOOD} {LOOP} {RIGHT}")).unload()


@pytest.mark.parametrize(
    ("wires", "why"),
    [
        (BACK_EDGE.format(1, "true") + SYNC_SET.format(0), "LOOPBACK:1"),
        (BACK_EDGE.format(0, "false") + SYNC_SET.format(0), "needs a back edge"),
        (SYNC_SET.format(0), "needs a back edge"),
        # OVMS finds this one at the first request.
        (BACK_EDGE.format(0, "true") + SYNC_SET.format(1), "LOOPBACK:1"),
    ],
    ids=["another edge", "no back edge", "no info", "another set"],
)
def test_a_loop_that_is_wired_wrongly_is_refused(tmp_path, wires, why):
    with pytest.raises(ServingError) as caught:
        load(tmp_path, node(options=f"{GOOD} {LOOP} {wires}"))
    assert caught.value.status is Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR
    assert why in caught.value.text

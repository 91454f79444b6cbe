"""Graphs of one Python node each, as users write them, served by a real server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from tests.wire import zoo
from tests.wire.servers import Server, serving

PROCESS = "isolation: PROCESS"
LOOPBACK = (
    'input_stream: "LOOPBACK:loop"',
    "input_stream_info: { tag_index: 'LOOPBACK:0' back_edge: true }",
    "input_stream_handler { "
    'input_stream_handler: "SyncSetInputStreamHandler" '
    "options { [mediapipe.SyncSetInputStreamHandlerOptions.ext] "
    '{ sync_set { tag_index: "LOOPBACK:0" } } } }',
    'output_stream: "LOOPBACK:loop"',
)


def graph(
    *lines: str,
    options: str = "",
    inputs: tuple[str, ...] = ("in",),
    outputs: tuple[str, ...] = ("out",),
) -> str:
    """A graph of the node "worker" with these streams; `lines` are more of the node."""
    streams = [
        *(f'input_stream: "IN{n}:{each}"' for n, each in enumerate(inputs, 1)),
        *(f'output_stream: "OUT{n}:{each}"' for n, each in enumerate(outputs, 1)),
    ]
    worker = zoo.node(
        "PythonExecutorCalculator",
        'input_side_packet: "PYTHON_NODE_RESOURCES:py"',
        *streams,
        *lines,
        options="mediapipe.PythonExecutorCalculatorOptions "
        f'handler_path: "handler.py" {options}',
        name="worker",
    )
    return zoo.graph(
        [f"OVMS_PY_TENSOR{n}:{each}" for n, each in enumerate(inputs, 1)],
        [f"OVMS_PY_TENSOR{n}:{each}" for n, each in enumerate(outputs, 1)],
        worker,
    )


def fragile(ill: Path) -> str:
    """A handler that says its word again, and whose process ends at the word `exit`, and
    before it is ready as long as there is a file `ill`.
    """
    return dedent(f"""
        import os
        from pathlib import Path

        from pyovms import Tensor


        class OvmsPythonModel:
            def initialize(self, kwargs):
                if Path({str(ill)!r}).exists():
                    os._exit(3)

            def execute(self, inputs):
                if bytes(inputs[0]) == b"exit":
                    os._exit(3)
                return [Tensor("out", inputs[0])]
    """)


@contextmanager
def served(folder: Path, graphs: Mapping[str, tuple[str, str]]) -> Iterator[Server]:
    """A server of graphs: name, pbtxt, and the code of `handler.py`."""
    for name, (pbtxt, code) in graphs.items():
        zoo.add_graph(folder, name, pbtxt, handler=dedent(code))
    config = zoo.write_config(folder, [], [{"name": name} for name in graphs])
    with serving(config) as server:
        yield server

"""Graphs of one Python node, and what comes out of them from whatever thread."""

from __future__ import annotations

import threading
from pathlib import Path
from textwrap import dedent
from typing import Any

from ovms_mp.core.errors import ServingError
from ovms_mp.core.packet import Packet
from tests.unit.calculators.handlers import ONE
from tests.unit.calculators.support import GraphOf

LOOP = """
input_stream: "OVMS_PY_TENSOR:in"
output_stream: "OVMS_PY_TENSOR:out"
node {
  name: "worker"
  calculator: "PythonExecutorCalculator"
  input_side_packet: "PYTHON_NODE_RESOURCES:py"
  input_stream: "IN:in"
  input_stream: "LOOPBACK:loop"
  input_stream_info: { tag_index: 'LOOPBACK:0', back_edge: true }
  input_stream_handler {
    input_stream_handler: "SyncSetInputStreamHandler",
    options {
      [mediapipe.SyncSetInputStreamHandlerOptions.ext] {
        sync_set { tag_index: "LOOPBACK:0" }
      }
    }
  }
  output_stream: "OUT:out"
  output_stream: "LOOPBACK:loop"
  node_options: {
    [type.googleapis.com/mediapipe.PythonExecutorCalculatorOptions]: {
      handler_path: "handler.py"
    }
  }
}
"""
FREE = (
    'input_stream: "OVMS_PY_TENSOR:in" output_stream: "OVMS_PY_TENSOR:out" '
    'node { name: "worker" calculator: "PythonExecutorCalculator" '
    'input_side_packet: "PYTHON_NODE_RESOURCES:py" ' + ONE + " %s node_options: { "
    "[type.googleapis.com/mediapipe.PythonExecutorCalculatorOptions]: "
    '{ handler_path: "handler.py" } } }'
)


class Listened(GraphOf):
    """A graph whose outputs somebody reacts to, and whose end can be waited for."""

    def __init__(self, pbtxt: str, folder: Path, code: str) -> None:
        (folder / "handler.py").write_text(dedent(code))
        super().__init__(pbtxt, base_path=folder)
        self.over = threading.Event()
        self.came = threading.Condition()

    def start(self, **side_packets: Any) -> None:
        self.over.clear()
        super().start(**side_packets)

    def packet(self, output: int, packet: Packet) -> None:
        super().packet(output, packet)
        with self.came:
            self.came.notify_all()
        self.heard(packet)

    def heard(self, packet: Packet) -> None:
        """On the strand."""

    def finished(self, error: ServingError | None) -> None:
        super().finished(error)
        self.over.set()

    def join(self) -> None:
        assert self.over.wait(30)

    def cancel(self) -> None:
        self._run.cancel()

    def said(self) -> list[tuple[int, bytes]]:
        return [(at, bytes(tensor)) for at, tensor in self.outputs["out"]]

"""User code runs as a node: PythonExecutorCalculator.

    node {
      name: "summator"
      calculator: "PythonExecutorCalculator"
      input_side_packet: "PYTHON_NODE_RESOURCES:py"    # from the server
      input_stream: "A:first"                          # pyovms.Tensor
      input_stream: "B:second"                         # pyovms.Tensor
      output_stream: "SUM:sum"                         # pyovms.Tensor, same timestamp
      node_options: {
        [type.googleapis.com/mediapipe.PythonExecutorCalculatorOptions]: {
          handler_path: "summator.py"    # absolute, or from the graph's directory
        }
      }
    }

The file defines `class OvmsPythonModel`. One instance is made when the graph is loaded
and serves all that use the graph, at the same time if it so happens:

    initialize(self, kwargs)    optional; kwargs: node_name, input_names, output_names,
                                base_path (the file's directory)
    execute(self, inputs)       inputs: a Tensor for each stream that has one at the
                                timestamp, sorted by tag; returns a list of Tensors,
                                each named as the output stream that it leaves by
    finalize(self)              optional; when the graph is unloaded

Generators and the tag LOOPBACK are not supported yet, nor is `async def execute`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, cast

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Inputs,
    Options,
    Outputs,
    SideInput,
)
from ovms_mp.calculator.pyovms import Tensor
from ovms_mp.core.errors import ServingError, Status
from ovms_mp_calculators import python_handler

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo, OutputPort
    from ovms_mp_calculators.python_handler import PythonModel

_OPTIONS = graph.PythonExecutorCalculatorOptions
_LOOPBACK: Final = "LOOPBACK"


class PythonExecutorCalculator(Calculator):
    """Fails with what `execute` raises, and when it returns anything but a list of
    Tensors that are named as output streams, each at most once.
    """

    inputs = Inputs(Tensor)
    outputs = Outputs(Tensor, optional=True)
    resources = SideInput(object, "PYTHON_NODE_RESOURCES")
    options = Options(_OPTIONS, optional=True)
    timestamp_offset = 0

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """No loop, for now."""
        ends = [
            any(port.tag == _LOOPBACK for port in ports)
            for ports in (node.inputs, node.outputs)
        ]
        if all(ends):
            raise ContractError(f"{_LOOPBACK} is not supported yet")
        if any(ends):
            raise ContractError(
                f"If {_LOOPBACK} is used, it must be defined on both input and output "
                "of the node"
            )

    @classmethod
    def load(cls, node: NodeInfo) -> PythonModel:
        """Load the handler. Raises ServingError PYTHON_NODE_*."""
        label = f'node "{node.name}"'
        if not node.is_named:
            raise ServingError(Status.PYTHON_NODE_MISSING_NAME)
        if node.is_namesake:
            raise ServingError(Status.PYTHON_NODE_NAME_ALREADY_EXISTS, label)
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name)
        if options is None:
            raise ServingError(Status.PYTHON_NODE_MISSING_OPTIONS, label)
        path = (node.base_path / options.handler_path).absolute()
        kwargs = {
            "node_name": node.name,
            "input_names": [port.name for port in node.inputs],
            "output_names": [port.name for port in node.outputs],
            "base_path": str(path.parent),
        }
        return python_handler.load(path, label, kwargs)

    @classmethod
    def unload(cls, shared: PythonModel) -> None:
        """Finalize the handler."""
        shared.finalize()

    def open(self, ctx: Context) -> None:
        """Settle the order of inputs and the names of outputs."""
        self._model: PythonModel = self.shared
        self._sources = sorted(self.inputs, key=lambda port: (port.tag, port.index))
        self._targets = {port.name: port for port in self.outputs}

    def process(self, ctx: Context) -> None:
        """Call `execute` with the tensors there are."""
        tensors = [ctx[port] for port in self._sources if ctx.has(port)]
        for tensor in tensors:
            _check_tensor("an input stream carries", tensor)
        for port, tensor in self._outgoing(self._model.execute(tensors)):
            ctx.send(port, tensor)

    def _outgoing(self, result: object) -> list[tuple[OutputPort[Tensor], Tensor]]:
        if not isinstance(result, list):
            raise TypeError(
                f"execute must return a list of pyovms.Tensor, it returned {_what(result)}"
            )
        outgoing: dict[str, tuple[OutputPort[Tensor], Tensor]] = {}
        for each in cast("list[object]", result):
            tensor = _check_tensor("the list that execute returned contains", each)
            port = self._targets.get(tensor.name)
            if port is None:
                known = ", ".join(f'"{name}"' for name in self._targets)
                raise ValueError(
                    f'execute returned tensor "{tensor.name}", which is no output '
                    f"stream of the node: {known}"
                )
            if tensor.name in outgoing:
                raise ValueError(f'execute returned tensor "{tensor.name}" twice')
            outgoing[tensor.name] = port, tensor
        return list(outgoing.values())


def _check_tensor(where: str, tensor: object) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{where} {type(tensor).__name__}, not pyovms.Tensor")
    return tensor


def _what(result: Any) -> str:
    """The name of a wrong result. One that runs only later is told not to bother."""
    if inspect.isgenerator(result):
        return "a generator, that is not supported yet"
    if inspect.iscoroutine(result):
        result.close()
        return "a coroutine, that is not supported yet"
    return type(result).__name__

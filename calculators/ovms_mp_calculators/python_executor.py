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
                                each named as the output stream that it leaves by, or
                                yields such lists, or does either as `async def`
    finalize(self)              optional; when the graph is unloaded

    open_session(self)          optional; what it returns is the stream's `session`
    execute(self, inputs, session)
    close_session(self, session)

The first list of a generation leaves at the inputs' timestamp t, the next ones at t+1,
t+2, …, and each as soon as it is there; what comes after a generation moves on to the
next timestamp that is free. With the tag LOOPBACK among inputs and outputs, a back edge
and SyncSetInputStreamHandler, the node is called anew for each list, as in OVMS, and
refuses new data while it generates; without, new data wait. `max_in_flight` of the node
lets so many calls, or generations, of one stream overlap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    CalculatorError,
    ContractError,
    Input,
    Inputs,
    Options,
    Output,
    Outputs,
    SideInput,
    TensorInfo,
    metrics,
)
from ovms_mp.calculator.pyovms import Tensor
from ovms_mp.calculator.services import Condition, ServedGraph
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.meters import Recorder, Recorders
from ovms_mp.core.pending import Pending
from ovms_mp_calculators import python_handler
from ovms_mp_calculators.python_output import Voice
from ovms_mp_calculators.python_pool import RemoteModel
from ovms_mp_calculators.python_remote import Spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.calculator import Context, InferenceSession, NodeInfo, OutputPort
    from ovms_mp_calculators.python_model import (
        Answer,
        Generation,
        PythonModel,
        Tensors,
    )

_OPTIONS = graph.PythonExecutorCalculatorOptions
_LOOPBACK: Final = "LOOPBACK"
_APART: Final = frozenset({"ImmediateInputStreamHandler", "SyncSetInputStreamHandler"})
"""Input stream handlers that call once more for the same timestamp, or an earlier one."""

_AT_ONCE: Final[Pending[None]] = Pending()
_AT_ONCE.complete(None)


MAX_WORKERS: Final = 64
"""Processes of one node."""


class _Loaded(NamedTuple):
    model: PythonModel
    recorder: Recorder


class PythonExecutorCalculator(Calculator):
    """Fails with what `execute` raises, and when it returns or yields anything but lists
    of Tensors that are named as output streams, each at most once.
    """

    inputs = Inputs(Tensor, optional=True)
    outputs = Outputs(Tensor, optional=True)
    loopback_in = Input(bool, _LOOPBACK, optional=True)
    loopback_out = Output(bool, _LOOPBACK, optional=True)
    resources = SideInput(object, "PYTHON_NODE_RESOURCES")
    options = Options(_OPTIONS, optional=True)
    timestamp_offset = 0

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A loop has two ends, and something comes in."""
        ends = [
            any(port.tag == _LOOPBACK for port in ports)
            for ports in (node.inputs, node.outputs)
        ]
        if any(ends) and not all(ends):
            raise ContractError(
                f"If {_LOOPBACK} is used, it must be defined on both input and output "
                "of the node"
            )
        if all(ends) and node.max_in_flight > 1:
            raise ContractError(f"{_LOOPBACK} excludes a max_in_flight above 1")
        if len(node.inputs) == all(ends):
            raise ContractError("input stream of any tag is missing")

    @classmethod
    def load(cls, node: NodeInfo) -> _Loaded:
        """Load the handler. Raises ServingError PYTHON_NODE_*."""
        label = f'node "{node.name}"'
        if not node.is_named:
            raise ServingError(Status.PYTHON_NODE_MISSING_NAME)
        if node.is_namesake:
            raise ServingError(Status.PYTHON_NODE_NAME_ALREADY_EXISTS, label)
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name)
        if options is None:
            raise ServingError(Status.PYTHON_NODE_MISSING_OPTIONS, label)
        _check_limits(options)
        path = (node.base_path / options.handler_path).absolute()
        kwargs = {
            "node_name": node.name,
            "input_names": [port.name for port in node.inputs],
            "output_names": [port.name for port in node.outputs],
            "base_path": str(path.parent),
        }
        recorder = _recorder(node)
        try:
            if options.isolation != _OPTIONS.PROCESS:
                voice = Voice(_label(node))
                with metrics.recording(recorder):
                    model = python_handler.load(path, voice, label, kwargs)
                return _Loaded(model, recorder)
            spec = Spec(
                path,
                label,
                kwargs,
                Voice(_label(node)),
                recorder,
                workers=options.workers,
                time_limit=options.time_limit_ms / 1000,
                memory_limit=options.memory_limit_mb,
            )
            return _Loaded(_remote(node, spec), recorder)
        except BaseException:
            recorder.close()
            raise

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """What the handler's `tensors` say."""
        if not isinstance(shared, _Loaded):
            return {}
        names = {port.name for port in (*node.inputs, *node.outputs)}
        return {
            name: TensorInfo(name, *declared)
            for name, declared in shared.model.tensors.items()
            if name in names
        }

    @classmethod
    def unload(cls, shared: _Loaded) -> None:
        """Finalize the handler."""
        shared.model.finalize()
        shared.recorder.close()

    def open(self, ctx: Context) -> None:
        """Settle the order of inputs and the names of outputs."""
        loaded: _Loaded = self.shared
        self._session = loaded.model.open(is_serial=self.node.max_in_flight == 1)
        self._sources = sorted(self.inputs, key=lambda port: (port.tag, port.index))
        self._targets = {port.name: port for port in self.outputs}
        self._loops = any(port.tag == _LOOPBACK for port in self.node.outputs)
        if self.node.input_policy in _APART and not self._loops:
            self.timestamp_offset = None
        self._generations: set[Generation] = set()
        self._has_generated = False

    def process(self, ctx: Context) -> None:
        """Call `execute` with the tensors there are, or let a loop go round."""
        tensors = [ctx[port] for port in self._sources if ctx.has(port)]
        if self._loops and self._generations:
            if tensors:
                raise CalculatorError(
                    "Node is already processing data. Create new stream for another "
                    "request.",
                    "RESOURCE_EXHAUSTED",
                )
            (generation,) = self._generations
            self._step(ctx, generation)
        elif tensors:
            self._take(ctx, self._session.execute(tensors))

    def _take(self, ctx: Context, answer: Answer | Pending[Answer]) -> None:
        if isinstance(answer, Pending):
            ctx.wait(answer, lambda there: self._take(ctx, there))
        elif isinstance(answer, list):
            self._send(ctx, answer)
        else:
            self._has_generated = True
            self._generations.add(answer)
            self._step(ctx, answer)

    def _step(self, ctx: Context, generation: Generation) -> None:
        item = generation.step()
        if isinstance(item, Pending):
            ctx.wait(item, lambda there: self._go_on(ctx, generation, there))
        else:
            self._go_on(ctx, generation, item)

    def _go_on(
        self, ctx: Context, generation: Generation, item: Tensors | None
    ) -> None:
        if item is None:
            self._generations.discard(generation)
            generation.close()
            return
        at = self._send(ctx, item)
        loops = self._loops
        if loops:
            after = max(at + 1, ctx.next_bound(self.loopback_out))
            ctx.send(self.loopback_out, True, after)
        # What was posted to the run meanwhile, new data or its end, has its turn now.
        ctx.flush()
        ctx.wait(_AT_ONCE, lambda _: None if loops else self._step(ctx, generation))

    def _send(self, ctx: Context, tensors: Tensors) -> int:
        at = ctx.timestamp
        if self._has_generated:
            at = max([at, *(ctx.next_bound(port) for port in self.outputs)])
        for port, tensor in self._outgoing(tensors):
            ctx.send(port, tensor, at)
        return at

    def _outgoing(self, tensors: Tensors) -> list[tuple[OutputPort[Tensor], Tensor]]:
        outgoing: dict[str, tuple[OutputPort[Tensor], Tensor]] = {}
        for tensor in tensors:
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

    def close(self, ctx: Context) -> None:
        """End what still generates, and the session."""
        for generation in self._generations:
            generation.close()
        self._session.close()


def _check_limits(options: graph.PythonExecutorCalculatorOptions) -> None:
    if not 1 <= options.workers <= MAX_WORKERS:
        raise ContractError(f"expected 1 to {MAX_WORKERS} workers")
    if options.isolation == _OPTIONS.PROCESS:
        return
    for name in ("workers", "time_limit_ms", "memory_limit_mb"):
        if options.HasField(name):
            raise ContractError(f"{name} needs isolation: PROCESS")


def _remote(node: NodeInfo, spec: Spec) -> RemoteModel:
    try:
        condition = node.services.get(Condition)
    except LookupError:
        return RemoteModel(spec)
    model = RemoteModel(spec, condition.changed)
    condition.watch(node.name, lambda: model.trouble)
    return model


def _label(node: NodeInfo) -> str:
    label = f'node "{node.name}"'
    try:
        return f"graph {node.services.get(ServedGraph).name}: {label}"
    except LookupError:
        return label


def _recorder(node: NodeInfo) -> Recorder:
    try:
        return node.services.get(Recorders).of(node.name)
    except LookupError:
        return metrics.Nobody()

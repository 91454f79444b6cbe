"""A model that needs no device (it adds and subtracts, when the test lets it), and
graphs of installed calculators.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ovms_mp.calculator import InferenceSession, Models, Services
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import TensorInfo
from ovms_mp.core.packet import Packet
from ovms_mp.core.pending import Pending
from ovms_mp.core.strand import inline
from ovms_mp.core.tensor import Array
from ovms_mp.graph import builder, config
from ovms_mp.graph.registry import Registry
from ovms_mp.graph.run import GraphRun


class Arithmetic:
    """An InferenceSession: `sum` and `difference` of `a` and `b`, FP32.

    With `is_held`, an inference waits for `finish` to be called on its place in
    `waiting`.
    """

    name = "arithmetic"
    slots = 2
    inputs = (TensorInfo("a", "FP32", (-1,)), TensorInfo("b", "FP32", (-1,)))
    outputs = (
        TensorInfo("sum", "FP32", (-1,)),
        TensorInfo("difference", "FP32", (-1,)),
    )

    def __init__(self, *, is_held: bool = False) -> None:
        self.is_held = is_held
        self.waiting: list[
            tuple[Pending[Mapping[str, Array]], Mapping[str, Array]]
        ] = []

    def infer(self, tensors: Mapping[str, Array]) -> Pending[Mapping[str, Array]]:
        for name, tensor in tensors.items():
            if name not in {"a", "b"}:
                raise ServingError(Status.INVALID_UNEXPECTED_INPUT, name)
            if tensor.dtype != np.float32:
                details = f"Expected: FP32; Actual: {tensor.dtype}; input name: {name}"
                raise ServingError(Status.INVALID_PRECISION, details)
        if len(tensors) != 2:
            details = f"Expected: 2; Actual: {len(tensors)}"
            raise ServingError(Status.INVALID_NO_OF_INPUTS, details)
        pending: Pending[Mapping[str, Array]] = Pending()
        self.waiting.append((pending, tensors))
        if not self.is_held:
            self.finish(-1)
        return pending

    def finish(self, place: int, error: ServingError | None = None) -> None:
        """Settle one of `waiting`."""
        pending, tensors = self.waiting[place]
        a, b = tensors["a"], tensors["b"]
        if error is None:
            pending.complete({"sum": a + b, "difference": a - b})
        else:
            pending.fail(error)


class OneModel:
    """Models: `arithmetic` in version 3, which is the default."""

    def __init__(self) -> None:
        self.model = Arithmetic()

    def session(self, name: str, version: str) -> InferenceSession:
        if name != "arithmetic":
            raise ServingError(Status.MODEL_NAME_MISSING, name)
        if version not in {"", "3"}:
            raise ServingError(Status.MODEL_VERSION_MISSING, version)
        return self.model


def services(models: OneModel | None = None) -> Services:
    """What a graph with that model is offered."""
    return Services({Models: models or OneModel()})


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


class GraphOf:
    """A graph of installed calculators; each `start` begins a run of it, in the
    caller's thread. `outputs` collects over all runs.
    """

    def __init__(
        self,
        pbtxt: str,
        *,
        offered: Services | None = None,
        base_path: Path | None = None,
    ) -> None:
        self.definition = builder.load(
            config.parse(pbtxt.encode(), "graph.pbtxt"),
            Registry.installed(),
            base_path or Path(),
            offered or services(),
        )
        self._inputs = {each.name: stream for each, stream in self.definition.inputs}
        self._names = [each.name for each, _ in self.definition.outputs]
        self.outputs: dict[str, list[Packet]] = {name: [] for name in self._names}

    def start(self, **side_packets: Any) -> None:
        self.error: ServingError | None = None
        self.is_done = False
        self._run = GraphRun(self.definition, self, inline)
        self._run.post(lambda: self._run.start(side_packets))

    def feed(self, stream: str, payload: Any, at: int) -> None:
        number = self._inputs[stream]
        self._run.post(lambda: self._run.feed(number, Packet(at, payload)))

    def close(self) -> None:
        self._run.post(self._run.close_inputs)

    def packet(self, output: int, packet: Packet) -> None:
        self.outputs[self._names[output]].append(packet)

    def settled(self, *, has_room: bool) -> None:
        pass

    def finished(self, error: ServingError | None) -> None:
        self.error, self.is_done = error, True


class Started(GraphOf):
    """A graph whose first run has begun."""

    def advance(self, stream: str, to: int) -> None:
        number = self._inputs[stream]
        self._run.post(lambda: self._run.advance(number, to))

    def sent(self, stream: str, at: int) -> Started:
        self.feed(stream, at, at)
        return self


def graph(text: str, **side: Any) -> Started:
    made = Started(text)
    made.start(**side)
    return made


def pairs(packets: list[Packet]) -> list[tuple[int, Any]]:
    return [(at, payload) for at, payload in packets]

"""A graph servable in the test's thread, and a client that writes down what it is told."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ovms_mp.core.errors import ServingError
from ovms_mp.core.messages import InferRequest, InferResponse, InputTensor
from ovms_mp.core.strand import inline
from ovms_mp.core.stream_policy import StreamPolicy
from ovms_mp.library.graph import Graph
from ovms_mp.servable.graph import GraphServable
from ovms_mp.telemetry.metrics import Metrics
from tests.unit.graph.support import define


def alarm_threads() -> set[threading.Thread]:
    """Those of this process: one for all alarms of one kind, as long as there are any."""
    return {each for each in threading.enumerate() if each.name == "alarms"}


def tensor(name: str, array: Any) -> InputTensor:
    values = np.asarray(array, np.float32)
    return InputTensor(name, "FP32", values.shape, raw=values.tobytes())


def request(*inputs: InputTensor, name: str = "g", **more: Any) -> InferRequest:
    return InferRequest(name, inputs=inputs, raw_count=len(inputs), **more)


def serve(text: str, **policy: Any) -> GraphServable:
    graph = Graph(define(text))
    return GraphServable("g", graph, inline, Metrics(), StreamPolicy(**policy))


def values(response: InferResponse) -> dict[str, list[float]]:
    return {
        each.name: np.frombuffer(each.data, np.float32).tolist()
        for each in response.outputs
    }


class Client:
    """A StreamSink."""

    def __init__(self) -> None:
        self.responses: list[InferResponse] = []
        self.errors: list[str] = []
        self.refused: list[str] = []
        self.over = threading.Event()
        self.rooms = 0
        self.ends: list[ServingError | None] = []

    def response(self, response: InferResponse) -> None:
        assert not self.ends
        self.responses.append(response)

    def error(self, error: ServingError, request: InferRequest) -> None:
        assert not self.ends
        self.errors.append(error.text)
        self.refused.append(request.id)

    def room(self) -> None:
        assert not self.ends
        self.rooms += 1

    def finished(self, error: ServingError | None) -> None:
        self.ends.append(error)
        self.over.set()

    @property
    def told(self) -> list[tuple[int, dict[str, list[float]]]]:
        return [
            (int(each.parameters["OVMS_MP_TIMESTAMP"]), values(each))
            for each in self.responses
        ]

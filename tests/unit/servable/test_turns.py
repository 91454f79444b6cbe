"""In which thread a graph's turns run: that of whoever feeds it, if all that its nodes do
is short; else a pool's.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ovms_mp.calculator.services import Services
from ovms_mp.core.errors import ServingError
from ovms_mp.core.messages import InferRequest, InferResponse, InputTensor
from ovms_mp.graph import builder, config
from ovms_mp.graph.registry import Registry
from ovms_mp.library.graph import Graph
from ovms_mp.servable.graph import GraphServable
from ovms_mp.telemetry.metrics import Metrics
from tests.unit.graph.support import PassThrough
from tests.unit.servable.support import Client, request, tensor

FEW = tensor("in", [1])
MANY = tensor("in", np.zeros(1 << 17))
PICTURE = InputTensor("in", "BYTES", (1,), raw=b"\x04\x00\x00\x00JPEG")
TURNS = 200


class Short(PassThrough):
    is_short = True


class DerivedFromShort(Short):
    """May do what it likes."""


class Threads(Client):
    """Notes the thread of each answer and of each refusal."""

    def __init__(self) -> None:
        super().__init__()
        self.answered: queue.SimpleQueue[int] = queue.SimpleQueue()

    def response(self, response: InferResponse) -> None:
        self.answered.put(threading.get_ident())

    def error(self, error: ServingError, request: InferRequest) -> None:
        self.answered.put(threading.get_ident())


class Stream:
    """One on a graph of two nodes."""

    def __init__(self, pool: ThreadPoolExecutor, first: str, second: str) -> None:
        text = f"""
          input_stream: "in" output_stream: "out"
          node {{ calculator: "{first}" input_stream: "in" output_stream: "mid" }}
          node {{ calculator: "{second}" input_stream: "mid" output_stream: "out" }}
        """
        known = Registry()
        for each in (Short, DerivedFromShort, PassThrough):
            known.add(each.__name__, each, "the tests")
        parsed = config.parse(text.encode(), "graph.pbtxt")
        definition = builder.load(parsed, known, Path(), Services())
        servable = GraphServable("g", Graph(definition), pool.submit, Metrics())
        self._client = Threads()
        self._session = servable.open_stream(request(FEW), self._client)
        self._client.answered.get(timeout=10)

    def is_answered_here(self, given: InputTensor = FEW) -> bool:
        self._session.feed(request(given))
        return self._client.answered.get(timeout=10) == threading.get_ident()

    def warm(self) -> bool:
        """True if answers come in this thread at last."""
        return any(self.is_answered_here() for _ in range(TURNS))

    def close(self) -> None:
        self._session.half_close()
        assert self._client.over.wait(10)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_a_graph_of_short_calculators_runs_in_the_thread_that_feeds_it(pool):
    stream = Stream(pool, "Short", "Short")
    assert stream.warm()
    stream.close()


@pytest.mark.parametrize("other", ["PassThrough", "DerivedFromShort"])
def test_one_calculator_that_does_not_say_so_keeps_the_graph_in_the_pool(pool, other):
    stream = Stream(pool, "Short", other)
    assert not stream.warm()
    stream.close()


@pytest.mark.parametrize("given", [MANY, PICTURE])
def test_what_takes_long_to_read_is_read_in_the_pool(pool, given):
    stream = Stream(pool, "Short", "Short")
    assert stream.warm()
    assert not any(stream.is_answered_here(given) for _ in range(3))
    stream.close()

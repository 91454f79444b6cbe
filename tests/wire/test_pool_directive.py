"""OVMS's directive for a pool of graphs takes nothing from a graph: what OVMS refuses
with it is served, nobody waits for his turn, and nobody meets what others left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import grpc
import numpy as np
import pytest

from tests.wire import ovms_graphs, zoo
from tests.wire.calls import (
    Request,
    Stream,
    arrays,
    ask,
    connect,
    infer,
    refusal,
    timestamp,
)
from tests.wire.ovms_graphs import CALCULATORS, HANDLERS, POOL, python, single
from tests.wire.servers import Process, Server, serving
from tests.wire.waiting import until

MANY: Final = "# OVMS_GRAPH_QUEUE_MAX_SIZE: 2147483647\n"
SILENT: Final = """
class OvmsPythonModel:
    def execute(self, inputs):
        return []
"""
GRAPHS: Final = {
    "plus": POOL + single("PlusOneCalculator"),
    "many": MANY + single("PlusOneCalculator"),
    "side": POOL + ovms_graphs.SIDE,
    "loop": POOL + ovms_graphs.LOOP,
    "sum": POOL + single("TotalAtCloseCalculator"),
    "growing": POOL + python("growing", 1, loop=True),
    "silent": POOL + python("silent", 1),
}


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("pooled")
    calculators = folder / "calculators"
    calculators.mkdir()
    (calculators / "counterparts.py").write_text(CALCULATORS)
    for name, pbtxt in GRAPHS.items():
        zoo.add_graph(folder, name, pbtxt, **HANDLERS, silent=SILENT)
    config = zoo.write_config(folder, [], [{"name": name} for name in GRAPHS])
    with serving(config, calculators_path=calculators) as server:
        yield server


@pytest.fixture
def channel(pooled: Server) -> Iterator[grpc.Channel]:
    with pooled.connect() as channel:
        yield channel
    assert until(pooled.is_idle), "something is left in the server"


def one(model: str, value: float, port: str = "in", at: int | None = None) -> Request:
    """A request of one FP32 [1] input."""
    return ask(model, {port: np.array([value], np.float32)}, at=at)


def everything(channel: grpc.Channel, *requests: Request) -> list[tuple[int, float]]:
    """Timestamps and values of all answers, until the stream ends well."""
    with Stream(channel, *requests) as stream:
        stream.half_close()
        answers = list(stream.rest())
    return [
        (timestamp(each), value)
        for each in answers
        for (value,) in arrays(each).values()
    ]


def test_a_python_node_may_generate_in_a_loop(channel: grpc.Channel) -> None:
    """OVMS does not load such a graph."""
    for _ in range(2):
        parts = everything(channel, one("growing", 3.5, "in1", at=64))
        assert parts == [(64, 4.5), (65, 5.5), (66, 6.5)]
    answer = infer(channel, one("growing", 3.5, "in1", at=64))
    assert (timestamp(answer), arrays(answer)) == (64, {"out1": [4.5]})


def test_parameters_of_requests_are_side_packets(channel: grpc.Channel) -> None:
    """OVMS refuses every request that has one beside the timestamp."""
    for step in (10, 1000):
        request = one("side", 3.5, at=7)
        request.parameters["step"].int64_param = step
        assert arrays(infer(channel, request)) == {"out": [3.5 + step]}
        assert everything(channel, request) == [(7, 3.5 + step)]
    code, text = refusal(channel, one("side", 3.5))
    assert code == "FAILED_PRECONDITION" and '"step"' in text


def test_as_many_as_like_are_in_the_graph_at_a_time(channel: grpc.Channel) -> None:
    """Of a pool of one graph they would have to wait for the first to leave."""
    with ExitStack() as stack:
        streams = [
            stack.enter_context(Stream(channel, one("plus", number)))
            for number in range(3)
        ]
        for number, stream in enumerate(streams):
            assert arrays(stream.answer()) == {"out": [number + 1]}
        assert arrays(infer(channel, one("plus", 9))) == {"out": [10]}
        for stream in streams:
            stream.half_close()
            assert stream.end() == ("OK", "")


def test_the_number_may_be_above_that_of_hardware_threads(
    channel: grpc.Channel,
) -> None:
    """OVMS takes the smaller one, with a warning."""
    assert arrays(infer(channel, one("many", 1))) == {"out": [2]}


def test_nobody_meets_what_others_have_left(channel: grpc.Channel) -> None:
    """Neither the state of a run that answered, nor the timestamps of any."""
    for _ in range(2):
        assert everything(channel, one("loop", 3.5, at=64)) == [
            (64, 4.5),
            (65, 5.5),
            (66, 6.5),
        ]
        assert arrays(infer(channel, one("loop", 3.5, at=64))) == {"out": [4.5]}
        assert arrays(infer(channel, one("loop", 3.5, at=1))) == {"out": [4.5]}


def test_a_half_close_closes_the_graph(channel: grpc.Channel) -> None:
    """A graph of a pool stays open, and what it would say at its end is never said."""
    found = everything(channel, one("sum", 1), one("sum", 2))
    assert found == [(100, 3)]
    assert everything(channel, one("sum", 5)) == [(100, 5)]


def test_an_output_that_is_missing_is_told(channel: grpc.Channel) -> None:
    """OVMS looks for it without a pool only."""
    code, text = refusal(channel, one("silent", 1, "in1"))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith(
        "Mediapipe execution failed. MP status - "
        "Unknown error during mediapipe execution"
    )


def test_the_switch_that_turns_pools_off_changes_nothing(tmp_path: Path) -> None:
    graphs = {
        "growing": GRAPHS["growing"],
        "wrong": "# OVMS_GRAPH_QUEUE_MAX_SIZE: -1\n" + zoo.ECHO,
    }
    for name, pbtxt in graphs.items():
        zoo.add_graph(tmp_path, name, pbtxt, **HANDLERS)
    config = zoo.write_config(tmp_path, [], [{"name": name} for name in graphs])
    off = {"OVMS_GRAPH_QUEUE_OFF": "1"}
    flags = ("--config_path", str(config), "--probe_models=false")
    with Process(tmp_path, *flags, environment=off) as server:
        with connect(server.ready()) as channel:
            answer = infer(channel, one("growing", 3.5, "in1"))
        assert arrays(answer) == {"out1": [4.5]}
        assert server.served() == ["growing"]

"""Laws of graphs without a server."""

from __future__ import annotations

import threading
from itertools import count

import numpy as np
import pytest

from ovms_mp import FunctionModel, Graph, GraphError, Observer, Packet
from ovms_mp.calculator import Calculator, Context, Input, Output
from ovms_mp.core.pending import Pending


class Double(Calculator):
    timestamp_offset = 0

    value = Input(int)
    out = Output(int)

    def process(self, ctx: Context) -> None:
        ctx.send(self.out, 2 * ctx[self.value])


class Later(Calculator):
    """Answers from another thread."""

    timestamp_offset = 0
    max_in_flight = 4

    value = Input(int)
    out = Output(int)

    def process(self, ctx: Context) -> None:
        pending: Pending[int] = Pending()
        value = ctx[self.value]
        threading.Timer(0.001, lambda: pending.complete(value)).start()
        ctx.wait(pending, lambda result: ctx.send(self.out, result))


class Fails(Calculator):
    value = Input(int)
    out = Output(int)

    def process(self, ctx: Context) -> None:
        raise ValueError("no")


CALCULATORS = {"Double": Double, "Later": Later, "Fails": Fails}


def graph(calculator: str) -> Graph:
    text = (
        'input_stream: "in" output_stream: "out" node { name: "it" '
        f'calculator: "{calculator}" input_stream: "in" output_stream: "out" }}'
    )
    return Graph.parse(text, calculators=CALCULATORS)


def test_what_is_fed_is_polled_in_order():
    with graph("Double") as made, made.run() as run:
        run.feed("in", 1, at=0)
        run.feed("in", 2, at=5)
        assert run.take("out") == [Packet(0, 2), Packet(5, 4)]


def test_polling_waits_for_what_is_under_way():
    with graph("Later") as made, made.run() as run:
        for at in range(8):
            run.feed("in", at, at=at)
        run.close()
        assert [packet.payload for packet in run.poll("out")] == list(range(8))


@pytest.mark.parametrize("calculator", ["Double", "Later"])
def test_a_stream_of_any_length_passes_in_order(calculator):
    factor = 2 if calculator == "Double" else 1
    with graph(calculator) as made:
        seen = []
        for timestamp, outputs in made.stream({"in": count()}):
            seen.append((timestamp, outputs["out"]))
            if len(seen) == 50:
                break
    assert seen == [(at, at * factor) for at in range(50)]


def test_a_failure_is_raised_to_the_caller_with_the_node_s_name():
    said = r'Process\(\) for node "it" failed: ValueError: no'

    def drive() -> None:
        run.feed("in", 1, at=0)
        run.wait_idle()

    with graph("Fails") as made:
        run = made.run()
        with pytest.raises(GraphError, match=said):
            drive()
        assert run.is_done


def test_a_graph_that_is_wrong_is_refused_with_its_line():
    with pytest.raises(GraphError, match=r':2: node "Nope"'):
        Graph.parse(
            'input_stream: "in"\nnode { calculator: "Nope" input_stream: "in" }'
        )


def test_unknown_streams_are_named():
    with graph("Double") as made, made.run() as run:
        with pytest.raises(ValueError, match="nowhere"):
            run.feed("nowhere", 1, at=0)
        with pytest.raises(ValueError, match="nowhere"):
            run.take("nowhere")


def test_any_stream_can_be_observed_and_an_exception_cancels_the_run():
    seen: list[Packet] = []

    def interrupted() -> None:
        with run:
            run.feed("in", 4, at=9)
            raise KeyboardInterrupt

    with graph("Double") as made:
        run = made.run(observe=[Observer("in", seen.append)])
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert run.is_done
    assert seen == [Packet(9, 4)]


def test_a_function_takes_the_place_of_a_model():
    text = """
input_stream: "OVTENSOR:in"
output_stream: "OVTENSOR:out"
node {
  calculator: "OpenVINOModelServerSessionCalculator"
  output_side_packet: "SESSION:session"
  node_options: {
    [type.googleapis.com/mediapipe.OpenVINOModelServerSessionCalculatorOptions]: {
      servable_name: "twice"
    }
  }
}
node {
  calculator: "OpenVINOInferenceCalculator"
  input_side_packet: "SESSION:session"
  input_stream: "X:in"
  output_stream: "Y:out"
}
"""
    twice = FunctionModel(lambda given: {"Y": given["X"] * 2})
    with Graph.parse(text, models={"twice": twice}) as made, made.run() as run:
        run.feed("in", np.ones(3, np.float32), at=0)
        (packet,) = run.take("out")
    assert packet.payload.tolist() == [2, 2, 2]

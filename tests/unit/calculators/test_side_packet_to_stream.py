"""Laws of SidePacketToStreamCalculator."""

from __future__ import annotations

import pytest
from ovms_mp_calculators.side_packet_to_stream import SidePacketToStreamCalculator

from ovms_mp.core.errors import ServingError
from ovms_mp.core.timestamp import POSTSTREAM, PRESTREAM
from ovms_mp.graph.runner import CalculatorRunner

ONE = 'input_side_packet: "value" '


def run(ports: str, **side_packets: object) -> CalculatorRunner:
    return CalculatorRunner(
        SidePacketToStreamCalculator,
        f'calculator: "SidePacketToStreamCalculator" {ports}',
        side_packets=side_packets,
    )


@pytest.mark.parametrize(
    ("tag", "at"),
    [("AT_PRESTREAM", PRESTREAM), ("AT_POSTSTREAM", POSTSTREAM), ("AT_ZERO", 0)],
)
def test_a_side_packet_goes_out_once_at_the_timestamp_of_the_tag(tag: str, at: int):
    runner = run(ONE + f'output_stream: "{tag}:out"', value="v")
    runner.run()
    assert runner.outputs["out"] == [(at, "v")]
    assert runner.is_done and runner.error is None


def test_a_side_packet_goes_out_at_the_timestamp_of_another():
    runner = run(
        ONE + 'input_side_packet: "TIMESTAMP:at" output_stream: "AT_TIMESTAMP:out"',
        value="v",
        at=5000,
    )
    runner.run()
    assert runner.outputs["out"] == [(5000, "v")]


def test_side_packets_and_outputs_pair_in_order():
    runner = run(
        'input_side_packet: "b" input_side_packet: "A:a" '
        'output_stream: "AT_ZERO:1:second" output_stream: "AT_ZERO:0:first"',
        a="tagged",
        b="untagged",
    )
    runner.run()
    assert runner.outputs == {"first": [(0, "untagged")], "second": [(0, "tagged")]}


def test_each_tick_has_a_packet_and_bounds_of_ticks_go_on():
    runner = run(
        ONE + 'input_stream: "TICK:tick" output_stream: "AT_TICK:out"', value=1
    )
    runner.feed_all("tick", [(0, "t"), (10, "t")])
    assert runner.outputs["out"] == [(0, 1), (10, 1)]
    runner.advance("tick", 100)
    assert runner.bounds["out"] == 100


def test_the_first_tick_closes_the_output():
    runner = run(
        ONE + 'input_stream: "TICK:tick" output_stream: "AT_FIRST_TICK:out"', value=1
    )
    runner.advance("tick", 5)
    assert runner.bounds["out"] == 5
    runner.feed_all("tick", [(7, "t"), (10, "t")])
    runner.close()
    assert runner.outputs["out"] == [(7, 1)]
    assert runner.error is None


@pytest.mark.parametrize(
    ("ports", "reason"),
    [
        ('output_stream: "out"', "the outputs have one tag of"),
        ('output_stream: "AT_ZERO:a" output_stream: "AT_PRESTREAM:b"', "one tag of"),
        ('output_stream: "AT_TICK:a"', "an input TICK is needed"),
        ('input_stream: "TICK:t" output_stream: "AT_ZERO:a"', "and only then"),
        ('output_stream: "AT_TIMESTAMP:a"', "input side packet TIMESTAMP is needed"),
        (
            'input_side_packet: "TIMESTAMP:t" output_stream: "AT_ZERO:a"',
            "input side packet TIMESTAMP is needed",
        ),
        ('output_stream: "AT_ZERO:0:a" output_stream: "AT_ZERO:1:b"', "one for each"),
    ],
)
def test_ports_that_do_not_belong_together_are_refused(ports: str, reason: str):
    with pytest.raises(ServingError) as caught:
        run(ONE + ports, value=1)
    assert reason in caught.value.text

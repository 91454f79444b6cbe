"""Laws of the calculators that say when packets pass."""

from __future__ import annotations

from typing import Any

import pytest

from ovms_mp.core.errors import ServingError
from tests.unit.calculators.support import Started, graph, pairs


def thinner(options: str, **side: Any) -> Started:
    name = "type.googleapis.com/mediapipe.PacketThinnerCalculatorOptions"
    sides = 'input_side_packet: "PERIOD:period"' if side else ""
    return graph(
        f"""
input_stream: "in" output_stream: "out"
node {{
  calculator: "PacketThinnerCalculator" {sides}
  input_stream: "in" output_stream: "out"
  node_options: {{ [{name}] {{ {options} }} }}
}}""",
        **side,
    )


def times(run: Started, *given: int) -> list[int]:
    for at in given:
        run.feed("in", at, at)
    run.close()
    assert run.error is None
    return [at for at, _ in run.outputs["out"]]


def test_an_asynchronous_thinner_lets_one_pass_per_period():
    assert times(thinner("period: 5"), 2, 4, 6, 7, 13, 14, 18) == [2, 7, 13, 18]
    assert times(thinner("", period=5), 2, 4, 6, 7) == [2, 7]
    assert times(thinner("period: 5 start_time: 4 end_time: 12"), 2, 4, 9, 12) == [4, 9]


def test_a_synchronous_thinner_sends_what_is_nearest_to_each_multiple():
    run = thinner("thinner_type: SYNC period: 5")
    assert times(run, 2, 4, 6, 7, 8, 9, 10, 16) == [0, 5, 10, 15]
    assert [payload for _, payload in run.outputs["out"]] == [2, 6, 10, 16]
    run = thinner("thinner_type: SYNC period: 5 sync_output_timestamps: false")
    assert times(run, 2, 4, 6, 16) == [2, 6, 16]


@pytest.mark.parametrize(
    ("options", "fault"),
    [("period: 0", "period must be positive"), ("start_time: 5 end_time: 5", "before")],
)
def test_a_thinner_s_options_make_sense(options, fault):
    with pytest.raises(ServingError, match=fault):
        thinner(options)


def test_a_join_passes_times_at_which_all_have_a_packet():
    run = graph("""
input_stream: "a" input_stream: "b" output_stream: "a2" output_stream: "b2"
node {
  calculator: "PacketInnerJoinCalculator"
  input_stream: "a" input_stream: "b" output_stream: "a2" output_stream: "b2"
}""")
    for at in (1, 2, 4):
        run.feed("a", at, at)
    for at in (2, 3, 4):
        run.feed("b", at, at)
    assert pairs(run.outputs["a2"]) == pairs(run.outputs["b2"]) == [(2, 2), (4, 4)]


def test_a_sequencer_gives_packets_the_time_after_the_last_tick():
    run = graph("""
input_stream: "in" input_stream: "tick" output_stream: "out"
node {
  calculator: "PacketSequencerCalculator"
  input_stream: "INPUT:in" input_stream: "TICK:tick" output_stream: "OUTPUT:out"
}""")
    run.feed("tick", 0, 10)
    run.feed("in", "a", 1000)
    run.feed("in", "b", 2000)
    run.feed("tick", 0, 50)
    run.feed("in", "c", 3000)
    assert run.error is None
    assert pairs(run.outputs["out"]) == [(11, "a"), (12, "b"), (51, "c")]


def resampler(options: str) -> Started:
    name = "type.googleapis.com/mediapipe.PacketResamplerCalculatorOptions"
    return graph(f"""
input_stream: "in" output_stream: "out"
node {{
  calculator: "PacketResamplerCalculator"
  input_stream: "in" output_stream: "out"
  node_options: {{ [{name}] {{ {options} }} }}
}}""")


def test_a_resampler_repeats_and_drops_to_a_steady_rate():
    assert times(resampler("frame_rate: 10"), 0, 340_000) == [
        0,
        100_000,
        200_000,
        300_000,
    ]
    assert times(resampler("frame_rate: 10"), 0, 30_000, 90_000, 110_000) == [
        0,
        100_000,
    ]


def test_a_resampler_keeps_to_its_limits_and_its_base():
    limited = "frame_rate: 10 start_time: 100000 end_time: 300000"
    assert times(resampler(limited), 0, 400_000) == [100_000, 200_000]
    assert times(resampler("frame_rate: 10 base_timestamp: 7"), 0, 100_000) == [
        7,
        100_007,
    ]


@pytest.mark.parametrize(
    ("options", "fault"),
    [("", "above 0"), ("frame_rate: 10 jitter: 0.5", "nor is it in MediaPipe")],
)
def test_a_resampler_refuses_what_it_cannot_do(options, fault):
    with pytest.raises(ServingError, match=fault):
        resampler(options)


def test_clocks_tell_when_and_how_long():
    now = iter([10.0, 10.5])
    run = graph(
        """
input_stream: "in" output_stream: "took"
node { calculator: "ClockTimestampCalculator" input_stream: "in" input_side_packet: "CLOCK:clock" output_stream: "began" }
node { calculator: "ClockTimestampCalculator" input_stream: "began" input_side_packet: "CLOCK:clock" output_stream: "ended" }
node { calculator: "ClockLatencyCalculator" input_stream: "ended" input_stream: "REFERENCE:began" output_stream: "took" }""",
        clock=lambda: next(now),
    )
    run.feed("in", "x", 3)
    assert pairs(run.outputs["took"]) == [(3, 0.5)]

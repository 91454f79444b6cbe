"""Laws of SwitchMuxCalculator and SwitchDemuxCalculator."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from ovms_mp_calculators.switch_demux import SwitchDemuxCalculator
from ovms_mp_calculators.switch_mux import SwitchMuxCalculator

from ovms_mp.core.errors import ServingError
from ovms_mp.graph.runner import CalculatorRunner

CHANNELS = " ".join(
    f'input_stream: "C{n}__FRAME:frame_{n}" input_stream: "C{n}__MASK:mask_{n}"'
    for n in range(3)
)
OUTPUTS = 'output_stream: "FRAME:frame" output_stream: "MASK:mask"'


def mux(ports: str = 'input_stream: "SELECT:select"', **sides: object):
    runner = CalculatorRunner(
        SwitchMuxCalculator,
        f'calculator: "SwitchMuxCalculator" {ports} {CHANNELS} {OUTPUTS}',
        side_packets=sides,
    )
    for n in range(3):
        runner.close(f"mask_{n}")
    return runner


def select(runner: CalculatorRunner, *choices: tuple[int, int]) -> None:
    for channel, at in choices:
        runner.feed("select", channel, at)


def frames(runner: CalculatorRunner) -> list[str]:
    return [packet.payload for packet in runner.outputs["frame"]]


def test_channels_may_be_chosen_before_their_packets_come():
    runner = mux()
    select(runner, (0, 1), (0, 10), (1, 11), (1, 20), (0, 21), (0, 30))
    for stream, payload, at in (
        ("frame_0", "p0_t10", 10),
        ("frame_1", "p1_t20", 20),
        ("frame_0", "p0_t30", 30),
    ):
        runner.feed(stream, payload, at)
        assert frames(runner)[-1] == payload
    assert len(frames(runner)) == 3


def test_packets_wait_for_the_choice():
    runner = mux()
    runner.feed("frame_0", "p0_t10", at=10)
    runner.feed("frame_1", "p1_t20", at=20)
    runner.feed("frame_0", "p0_t30", at=30)
    assert frames(runner) == []
    select(runner, (0, 1), (0, 10))
    assert frames(runner) == ["p0_t10"]
    select(runner, (1, 11), (1, 20))
    assert frames(runner) == ["p0_t10", "p1_t20"]
    select(runner, (0, 21), (0, 30))
    assert frames(runner) == ["p0_t10", "p1_t20", "p0_t30"]


def test_a_channel_waits_for_the_one_before_it_and_what_comes_too_late_is_dropped():
    runner = mux()
    select(runner, (0, 1), (0, 10), (1, 11), (1, 20))
    runner.feed("frame_1", "p1_t20", at=20)
    assert frames(runner) == []
    runner.feed("frame_0", "p0_t15", at=15)
    assert frames(runner) == ["p1_t20"]


def test_one_slow_channel_holds_all_that_come_after_it():
    runner = mux()
    select(runner, (0, 1), (0, 10))
    runner.feed("frame_0", "p0_t10", at=10)
    select(
        runner, (1, 11), (1, 20), (2, 21), (2, 30), (0, 31), (0, 40), (1, 41), (1, 50)
    )
    for stream, at in (
        ("frame_0", 20),
        ("frame_2", 20),
        ("frame_2", 30),
        ("frame_0", 40),
    ):
        runner.feed(stream, f"{stream} {at}", at)
    assert frames(runner) == ["p0_t10"]
    runner.feed("frame_1", "p1_t20", at=20)
    runner.feed("frame_1", "p1_t50", at=50)
    found = ["p0_t10", "p1_t20", "frame_2 30", "frame_0 40", "p1_t50"]
    assert frames(runner) == found


def test_a_bool_chooses_between_two():
    runner = mux('input_stream: "ENABLE:enable"')
    runner.feed("enable", True, at=1)
    runner.feed("frame_1", "yes", at=1)
    assert frames(runner) == []
    runner.advance("frame_0", 1)
    assert frames(runner) == ["yes"]


@pytest.mark.parametrize(
    ("ports", "sides", "found"),
    [
        ('input_side_packet: "SELECT:side"', {"side": 2}, "c2"),
        ('input_side_packet: "ENABLE:side"', {"side": True}, "c1"),
        ("options { [mediapipe.SwitchContainerOptions.ext] { select: 2 } }", {}, "c2"),
        (
            "options { [mediapipe.SwitchContainerOptions.ext] { enable: true } }",
            {},
            "c1",
        ),
        ("", {}, "c0"),
    ],
)
def test_what_is_chosen_for_a_start(ports: str, sides: dict[str, object], found: str):
    runner = mux(ports, **sides)
    for n in range(3):
        runner.feed(f"frame_{n}", f"c{n}", at=1)
    assert frames(runner) == [found]


def test_the_side_packets_of_the_chosen_channel_go_on():
    ports = (
        'input_side_packet: "SELECT:side" input_side_packet: "C0__S:s0" '
        'input_side_packet: "C1__S:s1" output_side_packet: "S:s"'
    )
    runner = mux(ports, side=1, s0="zero", s1="one")
    assert runner.side_outputs["S"] == "one"


def demux(ports: str = "", **sides: object) -> CalculatorRunner:
    return CalculatorRunner(
        SwitchDemuxCalculator,
        'calculator: "SwitchDemuxCalculator" input_stream: "SELECT:select" '
        'input_stream: "FRAME:frame" output_stream: "C0__FRAME:frame_0" '
        f'output_stream: "C1__FRAME:frame_1" {ports}',
        side_packets=sides,
    )


def test_packets_go_to_the_channel_of_their_time():
    runner = demux()
    select(runner, (0, 1), (0, 10))
    runner.feed("frame", "t10", at=10)
    assert runner.outputs == {"frame_0": [(10, "t10")], "frame_1": []}
    select(runner, (1, 11), (1, 20))
    runner.feed("frame", "t20", at=20)
    assert runner.outputs == {"frame_0": [(10, "t10")], "frame_1": [(20, "t20")]}


def test_a_packet_waits_until_its_channel_is_known():
    runner = demux()
    runner.feed("frame", "t10", at=10)
    select(runner, (0, 5))
    assert runner.outputs["frame_0"] == []
    select(runner, (1, 10))
    assert runner.outputs == {"frame_0": [], "frame_1": [(10, "t10")]}


def test_a_packet_behind_a_later_choice_is_dropped():
    runner = demux()
    select(runner, (0, 1), (1, 20))
    runner.feed("frame", "t10", at=10)
    assert runner.outputs == {"frame_0": [], "frame_1": []}


def test_side_packets_go_to_all_channels():
    ports = (
        'input_side_packet: "S:s" output_side_packet: "C0__S:s0" '
        'output_side_packet: "C1__S:s1"'
    )
    runner = demux(ports, s="value")
    assert runner.side_outputs["s0"] == runner.side_outputs["s1"] == "value"


def test_a_stream_of_no_channel_is_refused():
    with pytest.raises(ServingError, match=r"is no C<channel>__<tag> of an output"):
        mux('input_stream: "OTHER:other"')
    with pytest.raises(ServingError, match=r"is no C<channel>__<tag> of an input"):
        demux('output_stream: "C0__OTHER:other"')


def three(ports: str, **sides: object) -> CalculatorRunner:
    outputs = " ".join(f'output_stream: "C{n}__FRAME:frame_{n}"' for n in range(3))
    return CalculatorRunner(
        SwitchDemuxCalculator,
        'calculator: "SwitchDemuxCalculator" input_stream: "FRAME:frame" '
        f"{outputs} {ports}",
        side_packets=sides,
    )


@pytest.mark.parametrize("make", [mux, three])
@pytest.mark.parametrize("channel", [-1, 3, 2**31 - 1])
def test_an_option_or_side_packet_for_no_channel_is_an_error(
    make: Callable[..., CalculatorRunner], channel: int
):
    said = f"channel {channel} is chosen; expected 0 to 2"
    option = f"[mediapipe.SwitchContainerOptions.ext] {{ select: {channel} }}"
    with pytest.raises(ServingError, match=said):
        make(f"options {{ {option} }}")
    runner = make('input_side_packet: "SELECT:side"', side=channel)
    assert said in str(runner.error)


@pytest.mark.parametrize("channel", [-1, 3])
def test_packets_of_no_channel_vanish_and_the_log_says_so_once(
    channel: int, caplog: pytest.LogCaptureFixture
):
    """As in MediaPipe; those of the next choice do not."""
    into, out_of = three('input_stream: "SELECT:select"'), mux()
    with caplog.at_level(logging.WARNING):
        for runner in (into, out_of):
            select(runner, (channel, 1), (channel, 2), (2, 3))
        for at in (1, 2, 3):
            into.feed("frame", at, at)
            for stream in ("frame_0", "frame_1", "frame_2"):
                out_of.feed(stream, f"{stream} {at}", at)
    assert into.outputs == {"frame_0": [], "frame_1": [], "frame_2": [(3, 3)]}
    assert frames(out_of) == ["frame_2 3"]
    said = f"channel {channel} is chosen; expected 0 to 2"
    assert [said in each for each in caplog.messages] == [True, True]

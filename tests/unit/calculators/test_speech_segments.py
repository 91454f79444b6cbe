"""Laws of SpeechSegmentsCalculator: what begins, continues and ends speech."""

from __future__ import annotations

import numpy as np
import pytest
from ovms_mp_calculators import speech_segments
from ovms_mp_calculators.speech_segments import SpeechSegmentsCalculator

from ovms_mp.core.errors import ServingError
from ovms_mp.graph.runner import CalculatorRunner
from tests.unit.calculators.documented import node_of

KIND = "type.googleapis.com/ovms_mp.SpeechSegmentsCalculatorOptions"
YES, MAYBE, NO = 0.9, 0.4, 0.1


def run(options: str) -> CalculatorRunner:
    node = 'input_stream: "PROBABILITIES:heard" output_stream: "SEGMENTS:segments" '
    node += 'calculator: "SpeechSegmentsCalculator" '
    node += f"node_options {{ [{KIND}] {{ {options} }} }}"
    return CalculatorRunner(SpeechSegmentsCalculator, node)


def hear(runner: CalculatorRunner, at: int, *heard: float) -> None:
    runner.feed("heard", [np.array([[each]], np.float32) for each in heard], at=at)


def found(runner: CalculatorRunner) -> list[tuple[int, list[list[float]]]]:
    return [(at, rows.tolist()) for at, rows in runner.outputs["segments"]]


SECONDS = "window_seconds: 1 min_silence_seconds: 2 min_speech_seconds: 2 "


def test_a_segment_ends_where_the_silence_that_ended_it_began():
    runner = run(SECONDS)
    hear(runner, 0, NO, YES, YES)
    hear(runner, 1, NO)
    hear(runner, 2, NO, YES)
    assert found(runner) == [(0, []), (1, []), (2, [[1.0, 3.0]])]


def test_a_short_pause_and_doubt_do_not_end_a_segment_and_doubt_begins_none():
    runner = run(SECONDS)
    hear(runner, 0, MAYBE, YES, MAYBE, NO, MAYBE, NO, NO)
    assert found(runner) == [(0, [[1.0, 5.0]])]


def test_what_is_shorter_than_speech_was_none():
    runner = run(SECONDS)
    hear(runner, 0, YES, NO, NO, YES, YES, NO, NO)
    assert found(runner) == [(0, [[3.0, 5.0]])]


def test_the_end_of_the_stream_ends_what_has_begun():
    runner = run(SECONDS)
    hear(runner, 7, NO, YES, YES)
    runner.close()
    assert found(runner) == [(7, []), (8, [[1.0, 3.0]])]
    assert runner.error is None


def test_the_end_of_a_stream_that_heard_nothing_says_nothing():
    runner = run(SECONDS)
    runner.close()
    assert found(runner) == []


def test_the_documented_node_passes_probabilities_on():
    runner = CalculatorRunner(SpeechSegmentsCalculator, node_of(speech_segments))
    hear(runner, 4, YES, NO)
    ((at, speech),) = runner.outputs["speech"]
    assert (at, speech.dtype) == (4, np.float32)
    assert speech.tolist() == pytest.approx([YES, NO])


@pytest.mark.parametrize(
    "bad", [np.zeros((1, 2), np.float32), np.ones((1, 1), np.int32)]
)
def test_what_is_no_probability_is_refused(bad: np.ndarray):
    runner = run(SECONDS)
    runner.feed("heard", [bad], at=0)
    assert "a probability is one number" in str(runner.error)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("window_seconds: 0", "window_seconds is above 0, not 0"),
        ("window_seconds: nan", "window_seconds is above 0, not nan"),
        ("begin_probability: 0.3", "not 0.35 and 0.3"),
        ("end_probability: 0", "not 0 and 0.5"),
        ("min_silence_seconds: -1", "min_silence_seconds is 0 or more, not -1"),
        ("min_speech_seconds: nan", "min_speech_seconds is 0 or more, not nan"),
    ],
)
def test_numbers_that_find_nothing_are_refused_at_load(options: str, said: str):
    with pytest.raises(ServingError, match=said):
        run(options)

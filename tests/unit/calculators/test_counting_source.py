"""Laws of CountingSourceCalculator."""

from __future__ import annotations

import pytest
from ovms_mp_calculators.counting_source import CountingSourceCalculator

from ovms_mp.core.errors import ServingError
from ovms_mp.graph.runner import CalculatorRunner


def run(**side_packets: object) -> CalculatorRunner:
    sides = " ".join(
        f'input_side_packet: "{name.upper()}:{name}"' for name in side_packets
    )
    runner = CalculatorRunner(
        CountingSourceCalculator,
        f'calculator: "CountingSourceCalculator" output_stream: "out" {sides}',
        side_packets=side_packets,
    )
    runner.run()
    return runner


def test_numbers_come_at_their_own_timestamps_until_the_limit():
    runner = run(max_count=3)
    assert runner.outputs["out"] == [(0, 0), (1, 1), (2, 2)]
    assert runner.is_done and runner.error is None


def test_batches_increments_and_a_first_value_are_kept():
    runner = run(max_count=2, batch_size=2, initial_value=10, increment=5)
    assert runner.outputs["out"] == [(10, 10), (15, 15), (20, 20), (25, 25)]


def test_the_error_comes_after_as_many_calls_as_are_said():
    runner = run(error_count=2)
    assert runner.outputs["out"] == [(0, 0), (1, 1)]
    assert runner.error is not None
    assert "expected error" in runner.error.text


def test_an_error_in_open_ends_the_run_at_once():
    runner = run(max_count=2, error_on_open=True)
    assert runner.outputs["out"] == []
    assert runner.error is not None


@pytest.mark.parametrize(
    "sides", [{"max_count": -1}, {"max_count": 1, "batch_size": 0}]
)
def test_numbers_that_make_no_sense_fail_the_run(sides: dict[str, object]):
    assert run(**sides).error is not None


def test_a_source_that_nothing_ends_is_refused():
    with pytest.raises(ServingError, match="MAX_COUNT or ERROR_COUNT is needed"):
        run(batch_size=1)

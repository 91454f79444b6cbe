"""Laws of DefaultSidePacketCalculator."""

from __future__ import annotations

import pytest
from ovms_mp_calculators.default_side_packet import DefaultSidePacketCalculator

from ovms_mp.core.errors import ServingError
from ovms_mp.graph.runner import CalculatorRunner


def run(ports: str, **side_packets: object) -> CalculatorRunner:
    return CalculatorRunner(
        DefaultSidePacketCalculator,
        f'calculator: "DefaultSidePacketCalculator" {ports} output_side_packet: "VALUE:v"',
        side_packets=side_packets,
    )


BOTH = (
    'input_side_packet: "OPTIONAL_VALUE:given" input_side_packet: "DEFAULT_VALUE:usual"'
)


def test_the_given_value_wins():
    assert run(BOTH, given="g", usual="u").side_outputs["VALUE"] == "g"


def test_without_a_given_value_the_default_is_taken():
    assert run(BOTH, usual="u").side_outputs["VALUE"] == "u"


def test_the_optional_value_need_not_be_there():
    node = 'input_side_packet: "DEFAULT_VALUE:usual"'
    assert run(node, usual=3).side_outputs["VALUE"] == 3


def test_a_default_must_be_there():
    with pytest.raises(ServingError, match="DEFAULT_VALUE is missing"):
        run('input_side_packet: "OPTIONAL_VALUE:given"', given=1)

"""Laws of ConstantSidePacketCalculator."""

from __future__ import annotations

from typing import Any

import pytest
from ovms_mp_calculators.constant_side_packet import ConstantSidePacketCalculator
from ovms_mp_protos import graph

from ovms_mp.core.errors import ServingError
from ovms_mp.graph.runner import CalculatorRunner


def run(options: str, packets: int = 1) -> CalculatorRunner:
    sides = " ".join(
        f'output_side_packet: "PACKET:{n}:value{n}"' for n in range(packets)
    )
    return CalculatorRunner(
        ConstantSidePacketCalculator,
        f'calculator: "ConstantSidePacketCalculator" {sides} options {{ '
        f"[mediapipe.ConstantSidePacketCalculatorOptions.ext] {{ {options} }} }}",
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("int_value: -3", -3),
        ("uint64_value: 18446744073709551615", 2**64 - 1),
        ("int64_value: -9223372036854775808", -(2**63)),
        ("float_value: 0.5", 0.5),
        ("double_value: 0.1", 0.1),
        ("bool_value: false", False),
        ('string_value: "str"', "str"),
        ('string_vector_value { string_value: "a" string_value: "b" }', ["a", "b"]),
        ("float_vector_value { float_value: [1, 2.5] }", [1.0, 2.5]),
        ("int_vector_value { int_value: [1, 2] }", [1, 2]),
        ("int_vector_value { }", []),
        (
            "classification_list_value { classification { index: 4 } }",
            graph.ClassificationList(classification=[graph.Classification(index=4)]),
        ),
        (
            "landmark_list_value { landmark { x: 1 } }",
            graph.LandmarkList(landmark=[graph.Landmark(x=1)]),
        ),
        (
            "time_series_header_value { num_channels: 2 }",
            graph.TimeSeriesHeader(num_channels=2),
        ),
        ("matrix_data_value { rows: 1 }", graph.MatrixData(rows=1)),
    ],
)
def test_each_kind_of_value_is_a_side_packet(value: str, expected: Any):
    found = run(f"packet {{ {value} }}").side_outputs["PACKET"]
    assert found == expected
    assert type(found) is type(expected)


def test_values_go_to_side_packets_in_their_order():
    runner = run('packet { int_value: 256 } packet { string_value: "s" }', packets=2)
    assert runner.side_outputs["value0"] == 256
    assert runner.side_outputs["value1"] == "s"


@pytest.mark.parametrize(
    ("options", "packets", "reason"),
    [
        ("packet { int_value: 1 }", 2, "1 `packet`, the node has 2"),
        ("packet { int_value: 1 } packet { int_value: 1 }", 1, "2 `packet`"),
        ("packet { }", 1, "`packet` 0 of the options has no value"),
    ],
)
def test_a_side_packet_without_a_value_is_refused(
    options: str, packets: int, reason: str
):
    with pytest.raises(ServingError) as caught:
        run(options, packets)
    assert reason in caught.value.text

"""Laws of the StringTo…Calculators."""

from __future__ import annotations

import pytest

from tests.unit.calculators.support import GraphOf


def number(kind: str, text: str) -> int | None:
    graph = GraphOf(
        f"""
        output_stream: "out" input_side_packet: "text"
        node {{ calculator: "StringTo{kind}Calculator"
                input_side_packet: "text" output_side_packet: "number" }}
        node {{ calculator: "SidePacketToStreamCalculator"
                input_side_packet: "number" output_stream: "AT_ZERO:out" }}
        """
    )
    graph.start(text=text)
    found = graph.outputs["out"]
    assert (graph.error is None) == bool(found)
    return found[0].payload if found else None


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("Int", -(2**31), 2**31 - 1),
        ("Int32", -(2**31), 2**31 - 1),
        ("Int64", -(2**63), 2**63 - 1),
        ("Uint", 0, 2**32 - 1),
        ("Uint32", 0, 2**32 - 1),
        ("Uint64", 0, 2**64 - 1),
    ],
)
def test_numbers_are_read_up_to_their_limits(kind: str, low: int, high: int):
    assert number(kind, str(low)) == low
    assert number(kind, str(high)) == high
    assert number(kind, str(low - 1)) is None
    assert number(kind, str(high + 1)) is None


@pytest.mark.parametrize(
    "text", ["", "one", "1.5", "1 2", "0x10", "1_000", "٣", "9" * 9999]
)
def test_what_is_no_number_fails_the_run(text: str):
    assert number("Int64", text) is None


def test_white_space_and_a_sign_are_taken():
    assert number("Int", " +7\n") == 7
    assert number("Uint", "+7") == 7
    assert number("Uint", "-0") is None

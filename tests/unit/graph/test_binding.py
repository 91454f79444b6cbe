"""Each stream and side packet of a node finds its port, and what it carries."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from ovms_mp.calculator import (
    Calculator,
    Context,
    ContractError,
    Input,
    Inputs,
    Output,
    Outputs,
    SideInput,
    SideInputs,
    SideOutputs,
)
from ovms_mp.calculator.base import Contract
from ovms_mp.graph import config
from ovms_mp.graph.binding import Binding, bind


class Session(Protocol):
    def infer(self) -> None: ...


class Everything(Calculator):
    single = Input(int, "SINGLE", optional=True)
    values = Inputs(float, "VALUES", optional=True)
    rest = Inputs(Any, optional=True)
    outs = Outputs(str, "OUT", optional=True)
    session = SideInput(Session, "SESSION", optional=True)
    given = SideInputs(int, "GIVEN", optional=True)
    others = SideInputs(object, optional=True)
    made = SideOutputs(Any, optional=True)

    def process(self, ctx: Context) -> None:
        pass


class Needs(Calculator):
    values = Inputs(int, "VALUE")
    sides = SideInputs(int, "SIDE")
    out = Output(int)

    def process(self, ctx: Context) -> None:
        pass


def bound(text: str, calculator: type[Calculator] = Everything) -> Binding:
    parsed = config.parse(f'node {{ calculator: "C" {text} }}'.encode(), "graph.pbtxt")
    return bind(parsed.nodes[0], Contract.of(calculator))


def names(ports: Any) -> list[str]:
    return [port.name for port in ports]


def test_repeated_side_packets_are_bound_by_index():
    made = bound('input_side_packet: ["GIVEN:1:b", "GIVEN:0:a"]')
    assert names(made.attributes["given"]) == ["a", "b"]


def test_any_tag_takes_what_no_other_port_claims_in_the_order_of_the_file():
    made = bound(
        """
        input_side_packet: ["z", "GIVEN:g", "X:x", "A:a"]
        output_side_packet: ["Q:q", "p"]
        input_stream: ["Z:z1", "SINGLE:s", "VALUES:v", "B:b1"]
        """
    )
    assert names(made.attributes["others"]) == ["z", "x", "a"]
    assert names(made.attributes["given"]) == ["g"]
    assert names(made.attributes["made"]) == ["q", "p"]
    assert names(made.attributes["rest"]) == ["z1", "b1"]


def test_optional_ports_without_a_stream_are_none_or_empty():
    attributes = bound("").attributes
    assert attributes["single"] is attributes["session"] is None
    for name in ("values", "rest", "outs", "given", "others", "made"):
        assert attributes[name] == ()


def test_a_binding_tells_the_payload_of_each_stream_and_side_packet():
    made = bound(
        """
        input_stream: ["X:x", "SINGLE:s", "VALUES:v"]
        output_stream: "OUT:o"
        input_side_packet: ["Y:y", "GIVEN:g"]
        output_side_packet: "m"
        """
    )
    assert made.input_payloads == (Any, int, float)
    assert made.output_payloads == (str,)
    assert made.side_input_payloads == (object, int)
    assert made.side_output_payloads == (Any,)


def test_a_protocol_says_too_little_to_be_checked():
    assert bound('input_side_packet: "SESSION:s"').side_input_payloads == (Any,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('input_side_packet: "SIDE:s" output_stream: "o"', "input stream VALUE"),
        ('input_stream: "VALUE:v" output_stream: "o"', "input side packet SIDE"),
        (
            'input_stream: "VALUE:v" input_side_packet: "SIDE:s"',
            "output stream without a tag",
        ),
    ],
)
def test_what_is_not_optional_is_there_at_least_once(text: str, expected: str):
    with pytest.raises(ContractError) as caught:
        bound(text, Needs)
    assert str(caught.value) == f"{expected} is missing"


def test_a_side_packet_that_no_port_claims_is_unknown():
    node = 'input_stream: "VALUE:v" input_side_packet: ["SIDE:s", "MORE:m"]'
    with pytest.raises(ContractError) as caught:
        bound(f'{node} output_stream: "o"', Needs)
    assert str(caught.value) == (
        'input side packet "MORE:m" is unknown: the calculator has SIDE'
    )

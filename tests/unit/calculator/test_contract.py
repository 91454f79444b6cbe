"""A class says what no graph could make work: told when it enters a registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pytest

from ovms_mp.calculator import (
    ANY_TAG,
    Calculator,
    Context,
    ContractError,
    Input,
    Inputs,
    Options,
    Output,
    SideInput,
    SideInputs,
    SideOutputs,
)
from ovms_mp.graph.registry import Registry


class Works(Calculator):
    value = Input(Any, "VALUE")
    sides = SideInputs(Any, optional=True)

    def process(self, ctx: Context) -> None:
        pass


def complaint(calculator: type[Calculator]) -> str:
    with pytest.raises(ContractError) as caught:
        Registry().add("Named", calculator, "acme 1.0")
    prefix = "calculator 'Named' from acme 1.0: "
    assert str(caught.value).startswith(prefix)
    return str(caught.value).removeprefix(prefix)


def with_attributes(**attributes: Any) -> Any:
    return type("Wrong", (Works,), attributes)


def test_a_class_that_is_in_order_enters():
    Registry().add("Named", Works, "acme 1.0")


def test_two_ports_of_a_kind_may_not_claim_one_tag():
    class Streams(Works):
        again = Inputs(int, "VALUE")

    class Sides(Works):
        more = SideInputs(Any)

    class SameName(Works):
        out = Output(Any, "VALUE")
        side = SideInput(Any, "VALUE")

    expected = "input 'VALUE' is declared twice (ports 'value' and 'again')"
    assert complaint(Streams) == expected
    expected = "input side packet '*' is declared twice (ports 'sides' and 'more')"
    assert complaint(Sides) == expected
    Registry().add("Named", SameName, "acme 1.0")


def test_a_subclass_replaces_the_ports_that_it_names_anew():
    class Replaced(Works):
        value = Input(int, "VALUE")

    Registry().add("Named", Replaced, "acme 1.0")


def test_an_unknown_input_policy_is_refused():
    wrong = with_attributes(input_policy="ImediateInputStreamHandler")
    expected = "input_policy 'ImediateInputStreamHandler' is no input stream handler"
    assert complaint(wrong) == expected
    right = with_attributes(input_policy="ImmediateInputStreamHandler")
    Registry().add("Named", right, "acme 1.0")


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, None])
def test_at_least_one_call_is_in_flight(limit: Any):
    wrong = with_attributes(max_in_flight=limit)
    expected = f"max_in_flight should be an int of at least 1, not {limit!r}"
    assert complaint(wrong) == expected


@pytest.mark.parametrize("offset", [0.0, "0", False])
def test_an_offset_is_an_int_or_none(offset: Any):
    wrong = with_attributes(timestamp_offset=offset)
    expected = f"timestamp_offset should be an int or None, not {offset!r}"
    assert complaint(wrong) == expected


def test_whether_bounds_are_processed_is_true_or_false():
    wrong = with_attributes(process_timestamp_bounds="yes")
    expected = "process_timestamp_bounds should be True or False, not 'yes'"
    assert complaint(wrong) == expected


def test_a_class_with_streams_writes_process():
    class Idle(Calculator):
        value = Input(Any)

    class OnlySides(Calculator):
        sides = SideOutputs(Any)

    assert complaint(Idle) == "process is not written"
    Registry().add("Named", OnlySides, "acme 1.0")


def test_no_method_is_a_coroutine():
    class Asynchronous(Works):
        async def process(self, ctx: Context) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            pass

    assert complaint(Asynchronous) == (
        "process is a coroutine: for what comes later there is Context.wait"
    )


def test_instances_are_made_without_arguments():
    class Needy(Works):
        def __init__(self, size: int) -> None:
            self.size = size

    assert complaint(Needy) == (
        "a run makes instances without arguments: missing a required argument: 'size'"
    )


def test_an_abstract_class_is_refused():
    class Abstract(Works, ABC):
        @abstractmethod
        def scale(self) -> float: ...

    assert complaint(Abstract) == "the class is abstract"


def test_a_port_may_not_hide_what_calculators_have():
    for name in ("node", "shared", "open", "max_in_flight"):
        wrong = with_attributes(**{name: Output(Any, "OUT")})
        expected = f"'{name}' is a name of Calculator's own: no port may have it"
        assert complaint(wrong) == expected


def test_a_declaration_is_one_port():
    shared = Output(Any, "OUT")
    wrong = with_attributes(first=shared, second=shared)
    said = complaint(wrong)
    assert said == "'first' and 'second' share a declaration: each port needs its own"


def test_a_declaration_stands_in_the_class():
    late: Any = type("Late", (Works,), {})
    late.out = Output(Any, "OUT")
    said = complaint(late)
    assert said == "'out' and 'no class' share a declaration: each port needs its own"


@pytest.mark.parametrize("payload", [list[int], int | None, "int", 5])
def test_a_payload_is_a_class_or_any(payload: Any):
    wrong = with_attributes(out=Output(payload, "OUT"))
    assert complaint(wrong) == (
        f"port 'out' has the payload {payload!r}: name a class, or Any"
    )


@pytest.mark.parametrize("tag", ["value", "1ST", "A-B", 5, ANY_TAG])
def test_a_tag_is_one_that_a_pbtxt_can_give(tag: Any):
    wrong = with_attributes(out=Output(Any, tag))
    said = complaint(wrong)
    assert said == f"port 'out' has the tag {tag!r}: no pbtxt can give that"


def test_options_are_declared_once_and_are_a_message():
    message: Any = int
    wrong = with_attributes(settings=Options(message))
    assert complaint(wrong) == (
        "options 'settings' are no protobuf message: <class 'int'>"
    )


def test_what_is_no_calculator_is_refused():
    number: Any = 5
    with pytest.raises(ContractError) as caught:
        Registry().add("Named", number, "acme 1.0")
    expected = "calculator 'Named' from acme 1.0 is not a subclass of Calculator"
    assert str(caught.value) == expected

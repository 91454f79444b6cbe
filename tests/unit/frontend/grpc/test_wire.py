"""Limits hold before anything is parsed, and an invalid wire is told as such."""

from __future__ import annotations

import pytest
from ovms_mp_protos import kserve

from ovms_mp.frontend.grpc.wire import (
    HARMLESS_SIZE,
    MAX_FIELDS,
    MAX_RANK,
    MalformedMessage,
    scan,
    varint,
)

MEBI = 1 << 20


def test_two_byte_fields_are_the_shortest_so_harmless_messages_need_no_scan() -> None:
    message = kserve.ModelInferRequest()
    for _ in range(MAX_FIELDS):
        message.inputs.add()
    assert len(message.SerializeToString()) == HARMLESS_SIZE
    scan(message.SerializeToString())


def at_the_limit() -> kserve.ModelInferRequest:
    """Each kind of field that counts, MAX_FIELDS in all."""
    message = kserve.ModelInferRequest()
    for number in range(MAX_FIELDS // 8):
        message.inputs.add(name=str(number)).parameters["a"].bool_param = True
        message.outputs.add().parameters["b"].bool_param = True
        message.parameters[str(number)].bool_param = True
        message.raw_input_contents.extend([b"", b"x", b"xyz"])
    return message


def test_as_many_fields_as_the_limit_are_taken() -> None:
    found = scan(at_the_limit().SerializeToString())
    assert len(found.raw) == 3 * MAX_FIELDS // 8


@pytest.mark.parametrize("more", ["input", "output", "parameter", "raw", "nested"])
def test_one_field_of_any_counted_kind_beyond_the_limit_is_refused(more: str) -> None:
    message = at_the_limit()
    match more:
        case "input":
            message.inputs.add()
        case "output":
            message.outputs.add()
        case "parameter":
            message.parameters["more"].SetInParent()
        case "raw":
            message.raw_input_contents.append(b"")
        case _:
            message.inputs[0].parameters["more"].SetInParent()
    with pytest.raises(MalformedMessage, match="more than 4096 inputs, outputs, "):
        scan(message.SerializeToString())


def test_elements_of_bytes_contents_do_not_count() -> None:
    message = kserve.ModelInferRequest()
    tensor = message.inputs.add(name="x", datatype="BYTES")
    tensor.contents.bytes_contents.extend([b""] * (2 * MAX_FIELDS))
    data = message.SerializeToString()
    assert scan(data).rest == data


@pytest.mark.parametrize("tag", [b"\x22\x00", b"\x2a\x00", b"\x32\x00", b"\x3a\x00"])
def test_millions_of_empty_fields_are_refused_at_the_limit(tag: bytes) -> None:
    with pytest.raises(MalformedMessage, match="more than 4096"):
        scan(tag * MEBI)


@pytest.mark.parametrize("packed", [True, False])
def test_a_shape_of_millions_of_dimensions_is_refused(packed: bool) -> None:
    shape = b"\x1a" + varint(MEBI) + bytes(MEBI) if packed else b"\x18\x01" * MEBI
    with pytest.raises(MalformedMessage, match=f"more than {MAX_RANK} dimensions"):
        scan(b"\x2a" + varint(len(shape)) + shape)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x0a", "ends within a field"),
        (b"\x0a\x05abcd", "longer than what holds it"),
        (b"\x3a\xff\xff\xff\xff\x0f", "longer than what holds it"),
        (b"\x2a\x02\x0a\x05", "longer than what holds it"),
        (b"\x2a\x01\x0a" + b"\x00" * 9, "longer than what holds it"),
        (b"\x02\x00", "no valid number"),
        (b"\xfa\xff\xff\xff\x1f\x00", "no valid number"),
        (b"\xba\x80\x80\x80\x80\x00\x00", "no valid number"),
        (b"\x0e\x00", "a wire type that no field has"),
        (b"\x7b\x7c", "a wire type that no field has"),
        (b"\x3a" + b"\x80" * 10 + b"\x00", "more than ten bytes"),
        (b"\x78" + b"\xff" * 11, "more than ten bytes"),
        (b"\x79" + b"\x00" * 7, "longer than what holds it"),
        (b"\x7d" + b"\x00" * 3, "longer than what holds it"),
        (b"\x2a\x05\x2a\x03\x32\x01\x00", "fp32_contents does not hold numbers"),
        (b"\x2a\x05\x2a\x03\x12\x01\x80", "int_contents does not hold numbers"),
    ],
)
def test_an_invalid_wire_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(MalformedMessage, match=why) as caught:
        scan(data)
    assert str(caught.value).startswith("Invalid message: ")


def test_what_is_unknown_stays_in_the_message() -> None:
    unknown = b"\x78\x05" + b"\x79" + bytes(8) + b"\x7d" + bytes(4) + b"\x7a\x01x"
    found = scan(unknown + b"\x3a\x02ab" + unknown)
    assert found.rest == unknown + unknown
    assert [bytes(raw) for raw in found.raw] == [b"ab"]


def test_a_known_number_with_another_wire_type_is_unknown() -> None:
    found = scan(b"\x38\x05")
    assert found.raw == ()
    assert found.rest == b"\x38\x05"


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63])
def test_a_varint_is_written_as_protobuf_writes_it(value: int) -> None:
    message = kserve.InferParameter(uint64_param=value)
    assert message.SerializeToString() == b"\x28" + varint(value)

"""What was said before is not parsed again, and nobody can tell."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from ovms_mp_protos import kserve

from ovms_mp.core.errors import ServingError
from ovms_mp.frontend.grpc.codec import decode_request, request_of
from ovms_mp.frontend.grpc.heads import MAX_HEAD_SIZE, MAX_HEADS, Memory, split
from ovms_mp.frontend.grpc.wire import MalformedMessage, Scan
from tests.unit.frontend.grpc.strategies import (
    DATATYPES,
    INT64,
    NAMES,
    mutilate,
    parameters,
    requests,
)
from tests.unit.frontend.grpc.test_codec import parts


@st.composite
def plain(draw: st.DrawFn) -> kserve.ModelInferRequest:
    """As clients send them: raw contents for each input."""
    message = kserve.ModelInferRequest(model_name=draw(NAMES), id=draw(NAMES))
    for name, value in draw(st.dictionaries(NAMES, parameters(), max_size=2)).items():
        message.parameters[name].CopyFrom(value)
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(st.lists(INT64, max_size=4))
        message.inputs.add(name=draw(NAMES), datatype=draw(DATATYPES), shape=shape)
        size = draw(st.sampled_from([0, 1, 40, 127, 128, 5000, 20_000]))
        message.raw_input_contents.append(
            draw(st.binary(min_size=1, max_size=1)) * size
        )
    return message


def decoded(data: bytes) -> object:
    try:
        return parts(decode_request(data))
    except (MalformedMessage, ServingError) as error:
        return type(error)


def by_protobuf(data: bytes) -> object:
    try:
        return parts(request_of(Scan(data)))
    except (MalformedMessage, ServingError) as error:
        return type(error)


@given(plain() | requests())
def test_a_request_that_is_repeated_means_what_it_meant(
    message: kserve.ModelInferRequest,
) -> None:
    data = message.SerializeToString()
    expected = by_protobuf(data)
    for _ in range(2):
        assert decoded(data) == expected


@given(plain(), plain())
def test_of_a_known_head_id_parameters_and_contents_are_each_requests_own(
    first: kserve.ModelInferRequest, second: kserve.ModelInferRequest
) -> None:
    decoded(first.SerializeToString())
    second.model_name = first.model_name
    del second.inputs[:]
    second.inputs.MergeFrom(first.inputs)
    data = second.SerializeToString()
    assert decoded(data) == by_protobuf(data)


@settings(max_examples=500)
@given(st.data())
def test_a_mutilated_request_with_a_known_head_means_what_protobuf_says(
    data: st.DataObject,
) -> None:
    """Known is what the whole message was, and each mutilation is tried twice."""
    whole = data.draw(plain()).SerializeToString()
    decoded(whole)
    broken = data.draw(mutilate(whole))
    expected = by_protobuf(broken)
    for _ in range(2):
        assert decoded(broken) == expected


@given(st.binary(max_size=60))
def test_any_bytes_are_split_in_parts_that_protobuf_takes_or_not_at_all(
    data: bytes,
) -> None:
    found = split(data)
    if found is not None:
        assert sum(map(len, (found.head, found.beside, *found.raw))) < len(data)
        assert decoded(data) == by_protobuf(data)


def test_the_usual_request_is_split() -> None:
    message = kserve.ModelInferRequest(model_name="m", model_version="1", id="7")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 10])
    message.outputs.add(name="y")
    for size in (40, 130, 70_000, 1 << 20, 1 << 25):
        message.raw_input_contents[:] = [bytes(size)]
        found = split(message.SerializeToString())
        assert found is not None
        assert list(map(len, found.raw)) == [size]
        assert kserve.ModelInferRequest.FromString(found.beside).id == "7"


def test_what_would_take_long_to_split_is_left_alone() -> None:
    tail = b"\x3a\x01x"
    for head in (
        b"\x0a\x00" * 10**6,
        b"\x22\x00" * 10**6,
        b"\x3a\x00" * 10**6,
        b"\x3a" + b"\x80" * 10**6,
        b"\x0a\xff\x7f" + bytes(0x3FFF),
    ):
        assert split(head + tail) is None


def test_memory_of_what_strangers_say_is_bounded() -> None:
    memory: Memory[int, int] = Memory()
    for number in range(10 * MAX_HEADS):
        memory.keep(number, number)
        assert len(memory) <= MAX_HEADS
    message = kserve.ModelInferRequest(model_name="m" * (MAX_HEAD_SIZE + 1))
    message.raw_input_contents.append(b"x")
    assert split(message.SerializeToString()) is None

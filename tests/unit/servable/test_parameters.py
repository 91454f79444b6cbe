"""Request parameters: texts, types and ranges as OVMS has them."""

from __future__ import annotations

import pytest

from ovms_mp.core import timestamp as ts
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest, Parameter
from ovms_mp.servable.parameters import (
    TIMESTAMP,
    Uint64,
    side_packets_of,
    timestamp_of,
)


def request(**parameters: Parameter) -> InferRequest:
    return InferRequest("graph", parameters=parameters)


def test_without_the_parameter_there_is_no_timestamp() -> None:
    assert timestamp_of(request(other=3)) is None


@pytest.mark.parametrize("value", [0, 1, -1, ts.MIN, ts.MAX])
def test_a_timestamp_in_range_is_taken(value: int) -> None:
    assert timestamp_of(request(OVMS_MP_TIMESTAMP=value)) == value


@pytest.mark.parametrize(
    "value", [True, False, 1.0, "1", Uint64(1), 2**63, -(2**63) - 1], ids=repr
)
def test_a_timestamp_of_another_type_is_malformed(value: Parameter) -> None:
    with pytest.raises(ServingError) as caught:
        timestamp_of(request(OVMS_MP_TIMESTAMP=value))
    assert caught.value.status is Status.MEDIAPIPE_INVALID_TIMESTAMP
    assert caught.value.text == (
        "Malformed packet timestamp - Invalid timestamp format in request parameter"
        " OVMS_MP_TIMESTAMP. Should be int64"
    )


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (ts.UNSET, "Timestamp::Unset()"),
        (ts.UNSTARTED, "Timestamp::Unstarted()"),
        (ts.PRESTREAM, "Timestamp::PreStream()"),
        (ts.POSTSTREAM, "Timestamp::PostStream()"),
        (ts.ONE_OVER_POSTSTREAM, "Timestamp::OneOverPostStream()"),
        (ts.DONE, "Timestamp::Done()"),
    ],
)
def test_special_timestamps_are_malformed(value: int, name: str) -> None:
    with pytest.raises(ServingError) as caught:
        timestamp_of(request(OVMS_MP_TIMESTAMP=value))
    assert caught.value.text == f"Malformed packet timestamp - {name}"


def test_parameters_but_the_timestamp_are_side_packets_of_their_own_type() -> None:
    given = request(OVMS_MP_TIMESTAMP=1, text="a", number=-5, switch=False)
    side_packets = side_packets_of(given)
    assert side_packets == {"text": "a", "number": -5, "switch": False}
    assert [type(value) for value in side_packets.values()] == [str, int, bool]


def test_a_malformed_timestamp_is_no_matter_of_side_packets() -> None:
    assert side_packets_of(request(OVMS_MP_TIMESTAMP="text")) == {}


@pytest.mark.parametrize("value", [1.5, Uint64(1), 2**63], ids=repr)
def test_a_side_packet_of_another_type_is_not_implemented(value: Parameter) -> None:
    with pytest.raises(ServingError) as caught:
        side_packets_of(request(x=value))
    assert caught.value.status is Status.NOT_IMPLEMENTED
    assert caught.value.details == (
        "Handling parameters of other types than: bool, string, int64 is not supported"
    )


def test_the_name_of_the_python_resources_is_the_servers() -> None:
    with pytest.raises(ServingError) as caught:
        side_packets_of(request(py="x"))
    assert caught.value.status is Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR
    assert caught.value.details == (
        "Incoming input side packet: py is special reserved name and cannot be used"
    )


def test_the_timestamp_parameter_is_called_as_in_ovms() -> None:
    assert TIMESTAMP == "OVMS_MP_TIMESTAMP"

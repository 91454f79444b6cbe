"""Packets and timestamps as python/packet_test.py and timestamp_test.py have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ovms_mp_protos import graph

from ovms_mp import mediapipe as mp
from ovms_mp.mediapipe import packet_creator as creator
from ovms_mp.mediapipe import packet_getter as getter

CREATE: dict[str, Callable[[Any], mp.Packet]] = {
    "int": creator.create_int,
    "int8": creator.create_int8,
    "int16": creator.create_int16,
    "int32": creator.create_int32,
    "int64": creator.create_int64,
    "uint8": creator.create_uint8,
    "uint16": creator.create_uint16,
    "uint32": creator.create_uint32,
    "uint64": creator.create_uint64,
}
BITS = {"int": 32} | {
    name: int(name.removeprefix("u").removeprefix("int"))
    for name in CREATE
    if name != "int"
}


@pytest.mark.parametrize("name", CREATE)
def test_an_int_fits_its_size(name: str) -> None:
    is_unsigned = name.startswith("u")
    highest = 2 ** (BITS[name] - (not is_unsigned)) - 1
    packet = CREATE[name](highest)
    packet.timestamp = 0
    get = getter.get_uint if is_unsigned else getter.get_int
    assert get(packet) == highest
    assert packet.timestamp == 0
    with pytest.raises(OverflowError, match="execeeds the maximum value"):
        CREATE[name](highest + 1)
    with pytest.raises(OverflowError, match="goes below the minimum value"):
        CREATE[name](-highest - 2)


def test_an_empty_packet_has_no_data() -> None:
    packet = mp.Packet()
    assert packet.is_empty()
    assert repr(packet) == "<mediapipe.Packet with timestamp: UNSET and no data>"
    with pytest.raises(RuntimeError, match="received an empty Packet"):
        getter.get_str(packet)


def test_a_packet_at_another_time_is_another_packet() -> None:
    packet = creator.create_string("abc").at(100)
    later = packet.at(200)
    assert packet.timestamp == 100
    assert later.timestamp == 200
    assert getter.get_str(later) == "abc"


def test_a_string_is_text_and_bytes() -> None:
    packet = creator.create_string(b"xd0\xba\xd0").at(300)
    assert getter.get_bytes(packet) == b"xd0\xba\xd0"
    assert getter.get_bytes(creator.create_string("ü")) == "ü".encode()


def test_another_type_than_asked_for_is_a_value_error() -> None:
    with pytest.raises(ValueError, match='stores "int", but "string" was requested'):
        getter.get_str(creator.create_int(1))
    with pytest.raises(ValueError, match="doesn't contain int"):
        getter.get_int(creator.create_bool(data=True))
    with pytest.raises(TypeError, match="incompatible function arguments"):
        creator.create_int("a")


def test_vectors_are_lists() -> None:
    assert getter.get_int_list(creator.create_int_vector([1, 2])) == [1, 2]
    floats = getter.get_float_list(creator.create_float_vector([0.1, 0.5]))
    assert floats == pytest.approx([0.1, 0.5])
    assert getter.get_str_list(creator.create_string_vector(["a"])) == ["a"]
    assert getter.get_bool_list(creator.create_bool_vector([True])) == [True]
    with pytest.raises(ValueError, match="containers"):
        getter.get_int_list(creator.create_int_array([1]))


def test_packets_hold_packets() -> None:
    inner = [creator.create_int(42), creator.create_string("x")]
    listed = getter.get_packet_list(creator.create_packet_vector(inner))
    assert getter.get_int(listed[0]) == 42
    named = creator.create_string_to_packet_map({"a": inner[1]})
    assert getter.get_str(getter.get_str_to_packet_dict(named)["a"]) == "x"


def test_a_matrix_is_a_copy() -> None:
    array = np.array([[0.5, 1], [2, 3], [4, 5]], np.float32)
    packet = creator.create_matrix(array, transpose=True)
    array[0, 0] = 9
    matrix = getter.get_matrix(packet)
    assert matrix.tolist() == [[0.5, 2, 4], [1, 3, 5]]
    assert not matrix.flags.writeable


def test_a_proto_is_a_copy() -> None:
    message = graph.CalculatorGraphConfig(type="a")
    packet = creator.create_proto(message)
    message.type = "b"
    assert getter.get_proto(packet) == graph.CalculatorGraphConfig(type="a")


@pytest.mark.parametrize(
    ("name", "dtype", "shape"),
    [
        ("SRGB", np.uint8, (2, 3, 3)),
        ("GRAY16", np.uint16, (2, 3)),
        ("VEC32F2", np.float32, (2, 3, 2)),
    ],
)
def test_an_image_keeps_its_pixels(name: str, dtype: Any, shape: Any) -> None:
    data = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    form = mp.ImageFormat[name]
    frame = getter.get_image_frame(
        creator.create_image_frame(mp.ImageFrame(image_format=form, data=data))
    )
    assert np.array_equal(frame.numpy_view(), data)
    assert (frame.height, frame.width) == shape[:2]
    image = getter.get_image(creator.create_image(data, image_format=form))
    assert np.array_equal(image.numpy_view(), data)


def test_an_array_is_copied_unless_it_is_read_only() -> None:
    data = np.zeros((2, 2, 3), np.uint8)
    form = mp.ImageFormat.SRGB
    copied = creator.create_image_frame(data, image_format=form)
    data[0, 0, 0] = 7
    assert getter.get_image_frame(copied)[0, 0, 0] == 0
    data.flags.writeable = False
    shared = creator.create_image_frame(data, image_format=form)
    assert np.shares_memory(getter.get_image_frame(shared).numpy_view(), data)


def test_an_array_that_can_change_is_shared_with_a_warning() -> None:
    data = np.zeros((2, 2, 3), np.uint8)
    with pytest.warns(RuntimeWarning, match="dangerous"):
        creator.create_image_frame(data, image_format=mp.ImageFormat.SRGB, copy=False)
    with pytest.raises(ValueError, match="not c_contiguous"):
        creator.create_image_frame(
            data[:, ::-1], image_format=mp.ImageFormat.SRGB, copy=False
        )


def test_a_format_has_its_dtype() -> None:
    with pytest.raises(RuntimeError, match="GRAY8, SRGB"):
        mp.ImageFrame(mp.ImageFormat.GRAY16, np.zeros((2, 2), np.uint8))


def test_timestamps_compare_with_each_other_and_with_ints() -> None:
    first, second = mp.Timestamp(100), mp.Timestamp(101)
    assert mp.Timestamp(first) == first == 100
    assert first < second <= 101
    assert second > first != 101
    assert repr(first) == "<mediapipe.Timestamp with value: 100>"
    assert mp.Timestamp.from_seconds(1.5).value == 1_500_000
    assert first.seconds() == pytest.approx(0.0001)


@pytest.mark.parametrize(
    "name", ["UNSET", "UNSTARTED", "PRESTREAM", "MIN", "MAX", "POSTSTREAM", "DONE"]
)
def test_special_timestamps_have_names(name: str) -> None:
    special = getattr(mp.Timestamp, name)
    assert repr(special) == f"<mediapipe.Timestamp with value: {name}>"
    assert special.is_special_value()
    with pytest.raises(ValueError, match=name):
        mp.Timestamp(special.value)

"""Packed fields are read as protobuf reads them."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from ovms_mp_protos import kserve

from ovms_mp.frontend.grpc.packed import BrokenNumbers, unpack
from ovms_mp.frontend.grpc.wire import varint

FIELDS = {
    "bool_contents": (1, np.dtype(np.bool_)),
    "int_contents": (2, np.dtype("<i4")),
    "int64_contents": (3, np.dtype("<i8")),
    "uint_contents": (4, np.dtype("<u4")),
    "uint64_contents": (5, np.dtype("<u8")),
    "fp32_contents": (6, np.dtype("<f4")),
    "fp64_contents": (7, np.dtype("<f8")),
}
# Numbers of every length, sane and overlong, and pieces of some.
PIECES = st.one_of(
    st.integers(0, 2**70 - 1).map(varint),
    st.integers(0, 200).map(varint),
    st.binary(max_size=12),
)


@pytest.mark.parametrize("name", FIELDS)
@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_any_bytes_hold_the_numbers_that_protobuf_finds_in_them(
    name: str, data: bytes
) -> None:
    number, dtype = FIELDS[name]
    wire = varint(number << 3 | 2) + varint(len(data)) + data
    try:
        parsed = getattr(kserve.InferTensorContents.FromString(wire), name)
    except DecodeError:
        with pytest.raises(BrokenNumbers):
            unpack(memoryview(data), dtype)
        return
    unpacked = unpack(memoryview(data), dtype)
    assert unpacked.dtype == dtype
    np.testing.assert_array_equal(unpacked, np.array(list(parsed), dtype))


@pytest.mark.parametrize("shift", range(11))
def test_numbers_may_lie_across_the_blocks_of_the_work(shift: int) -> None:
    values = [1] * shift + [2**64 - 1, 5, 2**31] * 60_000
    message = kserve.InferTensorContents(uint64_contents=values)
    data = message.SerializeToString()
    start = len(data) - sum(len(varint(value)) for value in values)
    unpacked = unpack(memoryview(data)[start:], np.dtype("<u8"))
    assert unpacked.tolist() == values


def test_a_number_without_end_is_broken_however_long_it_is() -> None:
    with pytest.raises(BrokenNumbers):
        unpack(memoryview(b"\x80" * (1 << 20)), np.dtype("<u8"))


def test_a_number_of_eleven_bytes_is_broken() -> None:
    with pytest.raises(BrokenNumbers):
        unpack(memoryview(b"\x01" + b"\x80" * 10 + b"\x00"), np.dtype("<u8"))

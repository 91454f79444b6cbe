"""A status says what it is meant to say, or it is not made."""

from __future__ import annotations

import pytest

from ovms_mp.frontend.transport.seam import (
    MAX_DETAILS_BYTES,
    Abort,
    Code,
    Ending,
    Metadata,
    checked,
    fitting,
)


def wire_length(details: str) -> int:
    """Bytes of `details` as gRPC percent-encodes them."""
    return sum(
        1 if 0x20 <= byte <= 0x7E and byte != ord("%") else 3
        for byte in details.encode()
    )


@pytest.mark.parametrize("text", ["", "short", "ж" * 100, "100 %", "a\nb"])
def test_details_that_fit_are_left_alone(text: str) -> None:
    assert fitting(text) == text


@pytest.mark.parametrize("text", ["x", "ж", "𝄞", "%", "\n", "xж"])
def test_details_are_cut_where_the_wire_is_full_and_never_within_a_letter(
    text: str,
) -> None:
    cut = fitting(text * 5000)
    assert (text * 5000).startswith(cut)
    assert wire_length(cut) <= MAX_DETAILS_BYTES
    assert wire_length(cut) > MAX_DETAILS_BYTES - 13


def test_details_that_are_not_unicode_are_still_sent() -> None:
    assert fitting("a\udc80b") == "a?b"


@pytest.mark.parametrize(
    "metadata",
    [
        (("UPPER", "x"),),
        (("with space", "x"),),
        (("", "x"),),
        (("grpc-status", "0"),),
        (("key", "new\nline"),),
        (("key", "ж"),),
        (("key", b"bytes"),),
        (("key-bin", "text"),),
    ],
)
def test_metadata_that_grpc_would_refuse_is_refused_where_it_is_given(
    metadata: Metadata,
) -> None:
    with pytest.raises(ValueError, match=r"metadata"):
        checked(metadata)
    with pytest.raises(ValueError, match=r"metadata"):
        Abort(Code.INTERNAL, "", metadata)


def test_metadata_that_grpc_takes_is_taken() -> None:
    metadata = (("key", "a b~"), ("0-9._k", ""), ("k-bin", b"\x00\xff"))
    assert checked(iter(metadata)) == metadata


def test_an_unknown_code_is_no_status() -> None:
    with pytest.raises(ValueError, match="99"):
        Ending(99)  # type: ignore[arg-type]


def test_ok_is_no_reason_to_abort() -> None:
    with pytest.raises(ValueError, match="OK"):
        Abort(Code.OK)

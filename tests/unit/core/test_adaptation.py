"""Texts of configs and flags, in every form that OVMS accepts, and those that it does not."""

from __future__ import annotations

from typing import Any

import pytest

from ovms_mp.core.adaptation import NO_ADAPTATION, Adaptation, Conversion, parse
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.layout import LayoutPair, batch_axis, fits, is_layout, may_be
from ovms_mp.core.shape import UNBOUNDED, Dim

ANY = Dim(0, UNBOUNDED)


def fixed(*lengths: int) -> tuple[Dim, ...]:
    return tuple(Dim(length, length) for length in lengths)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"shape": "auto"}, {"shapes": {"": "auto"}}),
        ({"shape": "(1,3,224,224)"}, {"shapes": {"": fixed(1, 3, 224, 224)}}),
        ({"shape": " ( 1, 10 ) "}, {"shapes": {"": fixed(1, 10)}}),
        ({"shape": "(7)"}, {"shapes": {"": fixed(7)}}),
        (
            {"shape": "(1,-1,200:500)"},
            {"shapes": {"": (Dim(1, 1), ANY, Dim(200, 500))}},
        ),
        (
            {"shape": {"a": "(1,2)", "b": "auto"}},
            {"shapes": {"a": fixed(1, 2), "b": "auto"}},
        ),
        ({"batch_size": "4"}, {"batch_size": Dim(4, 4)}),
        ({"batch_size": "-1"}, {"batch_size": ANY}),
        ({"batch_size": "1:8"}, {"batch_size": Dim(1, 8)}),
        ({"batch_size": "auto"}, {"batch_size": "auto"}),
        ({"batch_size": "0"}, {}),
        ({"batch_size": "4", "shape": "(1,2)"}, {"shapes": {"": fixed(1, 2)}}),
        ({"layout": "NHWC:NCHW"}, {"layouts": {"": LayoutPair("NHWC", "NCHW")}}),
        ({"layout": "nhwc"}, {"layouts": {"": LayoutPair("NHWC", "NHWC")}}),
        (
            {"layout": {"x": "N...:...N", "y": "NC"}},
            {"layouts": {"x": LayoutPair("N...", "...N"), "y": LayoutPair("NC", "NC")}},
        ),
        ({"mean": "127.5"}, {"mean": (127.5,)}),
        ({"mean": "[1, 2.5,-3]"}, {"mean": (1, 2.5, -3)}),
        ({"scale": "(58.4,57.1,57.4)"}, {"scale": (58.4, 57.1, 57.4)}),
        ({"color_format": "bgr:RGB"}, {"color_format": Conversion("BGR", "RGB")}),
        ({"color_format": "NV12_2:BGR"}, {"color_format": Conversion("NV12_2", "BGR")}),
        ({"precision": "uint8:fp32"}, {"precision": Conversion("u8", "f32")}),
        ({"precision": "BF16:INT4"}, {"precision": Conversion("bf16", "i4")}),
        ({"shape": "", "layout": "", "mean": ""}, {}),
    ],
)
def test_each_form_means_what_it_means_to_ovms(
    written: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert parse(written) == Adaptation(**expected)


@pytest.mark.parametrize(
    ("key", "text", "status"),
    [
        *(
            ("shape", text, Status.SHAPE_WRONG_FORMAT)
            for text in (
                *("1,3", "(", "()", "(1,2", "(1,,2)", "(a)", "(1.5)", "(-2)", "(3:3)"),
                *("(5:2)", "(1:2:3)", "(:2)", "(-1:2)", "AUTO", "((1))", "(1)(2)"),
                *("(1,0)", "(00)", "(1,0:4)"),
                *("(99999999999)", "(1:99999999999)", "(" + "9" * 5000 + ")"),
            )
        ),
        *(
            ("batch_size", text, Status.DIM_WRONG_FORMAT)
            for text in (
                "-2",
                "8:1",
                "4:4",
                "0:4",
                "x",
                "1:2:3",
                "1.5",
                "(4)",
                "99999999999",
            )
        ),
        *(
            ("layout", text, Status.LAYOUT_WRONG_FORMAT)
            for text in (
                *("NHWX", "NN", "NHWC:NCHW:N", ":NCHW", "NHWC:", "N..", "N......"),
                "N...H...C",
            )
        ),
        *(
            ("mean", text, Status.FLOAT_WRONG_FORMAT)
            for text in ("[]", "[1,]", "1,2", "x", "[1;2]", "nan", "inf", "[1,[2]]")
        ),
        ("scale", "[1", Status.FLOAT_WRONG_FORMAT),
        ("color_format", "BGR", Status.COLOR_FORMAT_WRONG_FORMAT),
        ("color_format", "BGR:PINK", Status.COLOR_FORMAT_WRONG_FORMAT),
        ("precision", "fp32", Status.PRECISION_WRONG_FORMAT),
        ("precision", "fp8:fp32", Status.PRECISION_WRONG_FORMAT),
    ],
)
def test_another_form_is_refused_in_ovms_words(
    key: str, text: str, status: Status
) -> None:
    with pytest.raises(ServingError) as caught:
        parse({key: text})
    assert caught.value.status is status
    assert "expected" in caught.value.details


def test_nothing_said_is_nothing_wanted() -> None:
    assert parse({}) == NO_ADAPTATION
    assert not NO_ADAPTATION.is_auto
    assert not NO_ADAPTATION.converts
    assert parse({"shape": {"a": "(1)", "b": "auto"}}).is_auto
    assert parse({"batch_size": "auto"}).is_auto
    assert parse({"mean": "1"}).converts


@pytest.mark.parametrize(
    ("layout", "rank", "axis"),
    [
        ("NHWC", 4, 0),
        ("HWNC", 4, 2),
        ("N...", 4, 0),
        ("...N", 4, None),  # OVMS looks no further than the dots
        ("CHW", 3, None),
        ("...", 0, None),
        ("N?HWC", 5, 0),
        ("?N", 2, 1),
    ],
)
def test_the_batch_is_where_the_layout_has_it(
    layout: str, rank: int, axis: int | None
) -> None:
    assert is_layout(layout)
    assert fits(layout, rank)
    assert batch_axis(layout) == axis


@pytest.mark.parametrize(
    ("layout", "rank", "is_so"),
    [
        ("NHWC", 4, True),
        ("N...", 4, True),
        ("...", 4, True),
        ("N??C", 4, True),
        ("NCHW", 4, False),
        ("N?CW", 4, False),  # OVMS: a name cannot be in two places
        ("HWC", 3, False),
        ("NHWC", 5, False),
        ("N?HWC", 5, True),
        ("NCHWD", 5, False),
    ],
)
def test_pictures_fit_where_a_layout_may_be_theirs(
    layout: str, rank: int, is_so: bool
) -> None:
    assert may_be(layout, "N...HWC", rank) is is_so

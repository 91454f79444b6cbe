"""Flags of REST, judged."""

from __future__ import annotations

import pytest

from ovms_mp.settings import RestSettings, UsageError, settings_from

MODEL = {"model_name": "m", "model_path": "m"}


def test_without_flags_limits_are_ovmss_and_everybody_may_ask() -> None:
    assert settings_from(MODEL).rest == RestSettings(
        rest_max_body_size=2**30,
        rest_max_json_size=2**26,
        allowed_origins="*",
        allowed_methods="*",
        allowed_headers="*",
        allow_credentials=False,
    )


def test_every_flag_arrives() -> None:
    flags = {
        "rest_max_body_size": "2000",
        "rest_max_json_size": "3000",
        "allowed_origins": "https://a.example, https://b.example",
        "allowed_methods": "GET",
        "allowed_headers": "x",
        "allow_credentials": "true",
    }
    assert settings_from(MODEL | flags).rest == RestSettings(
        rest_max_body_size=2000,
        rest_max_json_size=3000,
        allowed_origins="https://a.example, https://b.example",
        allowed_methods="GET",
        allowed_headers="x",
        allow_credentials=True,
    )


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("rest_max_body_size", "2147483649", "should be from 1 to 2147483648"),
        ("rest_max_json_size", "0", "should be from 1 to 2147483648"),
        ("allowed_origins", "*\r\nset-cookie: x", "should be printable ASCII"),
        ("allowed_methods", "\0", "should be printable ASCII"),
        ("allowed_headers", "é", "should be printable ASCII"),
        ("allow_credentials", "maybe", "should be true or false"),
    ],
)
def test_what_a_flag_cannot_be_is_refused(
    name: str, value: str, complaint: str
) -> None:
    with pytest.raises(UsageError, match=f"^{name} {complaint}"):
        settings_from(MODEL | {name: value})

"""What a client may read: OVMS's texts, one line, no paths."""

from __future__ import annotations

import pytest

from ovms_mp.core.errors import MAX_PUBLIC_TEXT, ServingError, Status, public_text


def test_the_text_is_base_details_and_note():
    assert ServingError(Status.INVALID_SHAPE).text == "Invalid input shape"
    error = ServingError(Status.INVALID_SHAPE, "Expected: (1)", note="more")
    assert error.text == str(error) == "Invalid input shape - Expected: (1); more"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("in /srv/graphs/x/model.py line 3", "in model.py line 3"),
        ("open('/etc/a.b/c d')", "open('c d')"),
        ("two\nlines\tand\x00more", "two lines and more"),
        ("shape (1,2)/3 and a/b stay", "shape (1,2)/3 and a/b stay"),
    ],
)
def test_public_text_is_one_line_without_directories(message, expected):
    assert public_text(message) == expected


def test_public_text_is_short():
    assert len(public_text("x" * 10_000)) == MAX_PUBLIC_TEXT


def test_what_follows_a_long_beginning_is_not_read():
    """Regular expressions hold up all threads: seconds for what a client may send."""
    assert public_text(" " * 5_000_000 + "end") == "…"
    assert public_text("/etc/a " + " " * 600 + "b") == "a b"

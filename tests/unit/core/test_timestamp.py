"""MediaPipe's arithmetic of special timestamps."""

from __future__ import annotations

import pytest

from ovms_mp.core import timestamp as ts

ORDER = [
    ts.UNSET,
    ts.UNSTARTED,
    ts.PRESTREAM,
    ts.MIN,
    0,
    ts.MAX,
    ts.POSTSTREAM,
    ts.ONE_OVER_POSTSTREAM,
    ts.DONE,
]


def test_special_values_have_mediapipes_order_and_fill_int64():
    assert sorted(ORDER) == ORDER
    assert (ts.UNSET, ts.DONE) == (-(2**63), 2**63 - 1)
    assert (ts.MIN, ts.MAX) == (-(2**63) + 3, 2**63 - 4)


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (ts.PRESTREAM, ts.ONE_OVER_POSTSTREAM),
        (ts.MIN, ts.MIN + 1),
        (-1, 0),
        (0, 1),
        (ts.MAX - 1, ts.MAX),
        (ts.MAX, ts.ONE_OVER_POSTSTREAM),
        (ts.POSTSTREAM, ts.ONE_OVER_POSTSTREAM),
    ],
)
def test_next_allowed_in_stream(timestamp, expected):
    assert ts.next_allowed(timestamp) == expected


def test_which_values_packets_may_have():
    assert [ts.is_range_value(each) for each in ORDER] == [
        False, False, False, True, True, True, False, False, False,
    ]  # fmt: skip
    assert [ts.is_allowed_in_stream(each) for each in ORDER] == [
        False, False, True, True, True, True, True, False, False,
    ]  # fmt: skip


def test_descriptions_are_mediapipes():
    assert ts.describe(ts.UNSET) == "Timestamp::Unset()"
    assert ts.describe(7) == "7"

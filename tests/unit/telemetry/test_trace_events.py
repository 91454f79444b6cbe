"""What happened becomes slices on tracks, and arrows between them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ovms_mp.core.happenings import (
    CLIENT,
    Happening,
    Kind,
    NodeSubject,
    Shape,
    Subject,
)
from ovms_mp.telemetry.trace_events import events_of

SHAPE = Shape(
    "g",
    (
        NodeSubject("asks", ("in",), ("found",)),
        NodeSubject("draws", ("in", "found"), ("out",)),
    ),
    ("in",),
)
MS = 1_000_000
"""Of nanoseconds."""


def told(happenings: Sequence[Happening]) -> list[Any]:
    subjects = {1: Subject(1, SHAPE, "stream")}
    return [json.loads(event) for event in events_of(happenings, subjects)]


def tracks(
    happenings: Sequence[Happening],
) -> dict[str, list[tuple[str, float, float]]]:
    """Slices by the names of their tracks: (name, begin, duration in milliseconds)."""
    events = told(happenings)
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    found: dict[str, list[tuple[str, float, float]]] = {}
    for each in events:
        if each["ph"] == "X":
            piece = each["name"], each["ts"] / 1000, each["dur"] / 1000
            found.setdefault(names[each["tid"]], []).append(piece)
    return found


def frame(at: int, begun: int) -> list[Happening]:
    """A frame that came when it says, in milliseconds: 2 until it was let in, 1 for that;
    the call took 1, the inference began after 3 and took 10; what it found was drawn in 4
    and sent in 1.
    """
    t = begun * MS

    def happening(
        kind: Kind, node: int, begun: int, ended: int, **more: Any
    ) -> Happening:
        return Happening(kind, 1, node, at, t + begun * MS, t + ended * MS, **more)

    return [
        happening(Kind.ENTER, CLIENT, 2, 3, since=t),
        happening(Kind.PROCESS, 0, 3, 4, taken=(0,), goes_on=True),
        happening(Kind.INFER, 0, 6, 16, since=t + 3 * MS, model="m"),
        happening(Kind.WAIT, 0, 4, 17),
        happening(Kind.RESUME, 0, 17, 18, made=((0, at),)),
        happening(Kind.PROCESS, 1, 20, 24, taken=(0, 1), made=((0, at),)),
        happening(Kind.RESPOND, CLIENT, 24, 25),
    ]


def test_it_is_told_where_the_time_of_a_frame_went() -> None:
    assert tracks(frame(0, 100)) == {
        "client queue": [("waits to enter", 100, 2)],
        "client": [("enters", 102, 1), ("is answered", 124, 1)],
        "asks": [("asks", 103, 1), ("asks goes on", 117, 1)],
        "asks in flight": [
            ("waits", 103, 14),
            ("m: waits its turn", 103, 3),
            ("m", 106, 10),
        ],
        # From when its picture was there: what it had to wait for is above.
        "draws queue": [("waits", 103, 17)],
        "draws": [("draws", 120, 4)],
    }


def test_frames_that_overlap_have_a_track_each() -> None:
    found = tracks([*frame(0, 0), *frame(1, 8), *frame(2, 30)])
    assert [begun for name, begun, _ in found["asks in flight"] if name == "m"] == [
        6,
        36,
    ]
    assert [begun for name, begun, _ in found["asks in flight 2"] if name == "m"] == [
        14
    ]
    assert len(found["asks"]) == 6


def test_an_inference_within_a_call_is_a_part_of_it() -> None:
    """One that was so short that the call did not wait."""
    found = tracks(
        [
            Happening(Kind.INFER, 1, 0, 5, 2 * MS, 3 * MS, since=2 * MS, model="m"),
            Happening(Kind.PROCESS, 1, 0, 5, MS, 4 * MS, taken=(0,)),
        ]
    )
    assert found == {"asks": [("asks", 1, 3), ("m", 2, 1)]}


def test_arrows_lead_each_timestamp_from_call_to_call() -> None:
    """Numbers in JSON are as exact as a double is, and timestamps are not: the arrows of
    one have a number of their own.
    """
    last = 2**63 - 2
    arrows = [e for e in told([*frame(0, 0), *frame(last, 8)]) if e["ph"] in "stf"]
    numbers = dict.fromkeys(each["id"] for each in arrows)
    assert len(numbers) == 2
    for number in numbers:
        assert 0 <= number < 2**53
        mine = [each for each in arrows if each["id"] == number]
        assert [each["ph"] for each in mine] == ["s", "t", "t", "t", "f"]
        assert [each["ts"] for each in mine] == sorted(each["ts"] for each in mine)


def test_what_is_of_no_known_run_is_left_out() -> None:
    stranger = Happening(Kind.PROCESS, 2, 0, 0, 0, 1)
    assert told([stranger]) == []

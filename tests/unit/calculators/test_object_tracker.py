"""Laws of ObjectTrackerCalculator and of its Tracker."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from ovms_mp_calculators import object_tracker
from ovms_mp_calculators.object_tracker import ObjectTrackerCalculator, Tracker

from ovms_mp.core.errors import ServingError
from ovms_mp.graph.runner import CalculatorRunner
from tests.unit.calculators.documented import node_of

Floats = NDArray[np.float32]

NOBODY = np.empty((0, 6), np.float32)


def person(
    x: float, y: float = 0.5, *, score: float = 0.9, category: float = 1
) -> list[float]:
    """A box of 0.1 x 0.2 around (x, y)."""
    return [x - 0.05, y - 0.1, x + 0.05, y + 0.1, score, category]


def objects(*rows: list[float]) -> Floats:
    return np.array(rows, np.float32).reshape(-1, 6)


def ids(tracks: Floats) -> list[int]:
    return [int(row[6]) for row in tracks]


def follow(tracker: Tracker, frames: Iterable[Floats]) -> list[list[int]]:
    return [ids(tracker.update(each)) for each in frames]


# Multiples of 1/64 are exact in float32.
coordinates = st.integers(0, 63).map(lambda n: n / 64)
sizes = st.integers(1, 32).map(lambda n: n / 64)
scores = st.integers(0, 64).map(lambda n: n / 64)


@st.composite
def frames(draw: st.DrawFn) -> list[Floats]:
    """Up to eight frames of up to five objects, of two classes, some with low scores."""
    row = st.tuples(coordinates, coordinates, sizes, sizes, scores)
    drawn = draw(st.lists(st.lists(row, max_size=5), max_size=8))
    return [
        objects(*([x, y, x + w, y + h, s, float(s > 0.7)] for x, y, w, h, s in rows))
        for rows in drawn
    ]


@given(frames())
def test_ids_in_a_frame_are_unique_and_rising(clip: list[Floats]):
    for seen in follow(Tracker(), clip):
        assert seen == sorted(set(seen))


@given(frames())
def test_every_object_that_scores_enough_is_tracked_and_no_other(clip: list[Floats]):
    tracker = Tracker(min_score=0.4)
    for each in clip:
        tracks = tracker.update(each)
        expected = each[each[:, 4] >= 0.4]
        assert sorted(tracks[:, :6].tolist()) == sorted(expected.tolist())


@given(frames())
def test_new_ids_count_up_without_a_gap(clip: list[Floats]):
    highest = 0
    known: set[int] = set()
    for seen in follow(Tracker(), clip):
        new = [each for each in seen if each not in known]
        assert new == list(range(highest + 1, highest + 1 + len(new)))
        highest += len(new)
        known.update(new)


@given(frames())
def test_an_id_never_comes_back_after_more_than_max_lost_frames(clip: list[Floats]):
    last_seen: dict[int, int] = {}
    for number, seen in enumerate(follow(Tracker(max_lost=2), clip)):
        for each in seen:
            assert number - last_seen.get(each, number) <= 3
            last_seen[each] = number


@given(frames())
def test_the_same_frames_give_the_same_tracks(clip: list[Floats]):
    first, second = Tracker(), Tracker()
    for each in clip:
        assert first.update(each).tolist() == second.update(each).tolist()


@given(frames())
def test_an_object_that_stays_keeps_its_id(clip: list[Floats]):
    tracker = Tracker()
    alone = [5.0, 5.0, 6.0, 6.0, 0.9, 1.0]
    first = ids(tracker.update(objects(alone)))
    for each in clip:
        tracks = tracker.update(np.vstack((each, objects(alone))))
        mine = tracks[tracks[:, 0] == 5]
        assert ids(mine) == first


def test_tracks_are_float32_also_when_there_are_none():
    tracks = Tracker().update(NOBODY)
    assert tracks.shape == (0, 7)
    assert tracks.dtype == np.float32


def test_a_walker_is_followed_through_frames_without_a_box():
    tracker = Tracker(max_lost=10)
    walk = [objects(person(0.1 + 0.02 * step)) for step in range(5)]
    assert follow(tracker, walk) == [[1]] * 5
    assert follow(tracker, [NOBODY] * 10) == [[]] * 10
    # Ten frames on, two box widths further: only motion gets there.
    assert ids(tracker.update(objects(person(0.1 + 0.02 * 15)))) == [1]


def test_a_track_survives_max_lost_frames_and_not_one_more():
    for lost, expected in ((10, [1]), (11, [2])):
        tracker = Tracker(max_lost=10)
        follow(tracker, [objects(person(0.5))] + [NOBODY] * lost)
        assert ids(tracker.update(objects(person(0.5)))) == expected


def test_without_max_lost_one_empty_frame_ends_a_track():
    tracker = Tracker(max_lost=0)
    clip = [objects(person(0.5)), objects(person(0.5)), NOBODY, objects(person(0.5))]
    assert follow(tracker, clip) == [[1], [1], [], [2]]


def test_every_gap_may_be_as_long_as_max_lost():
    gap = [NOBODY] * 6
    clip = [objects(person(0.5)), *([*gap, objects(person(0.5))] * 3)]
    seen = follow(Tracker(max_lost=10), clip)
    assert [each for each in seen if each] == [[1]] * 4


def test_a_step_during_a_gap_is_not_taken_for_speed():
    gap = [NOBODY] * 9
    clip = [person(0.5), person(0.55), person(0.55)]
    tracker = Tracker()
    for row in clip:
        assert ids(tracker.update(objects(row))) == [1]
        follow(tracker, gap)


def test_people_who_cross_keep_their_ids():
    tracker = Tracker()
    for step in range(21):
        left, right = person(0.2 + 0.03 * step), person(0.8 - 0.03 * step, 0.55)
        tracks = tracker.update(objects(left, right))
        assert ids(tracks) == [1, 2]
        assert tracks[0, 0] == np.float32(left[0])


def test_the_better_overlap_wins_whatever_the_order_of_the_rows():
    near, far = person(0.51), person(0.54)
    for rows in ((near, far), (far, near)):
        tracker = Tracker()
        tracker.update(objects(person(0.5)))
        tracks = tracker.update(objects(*rows))
        assert ids(tracks) == [1, 2]
        assert tracks[0, 0] == np.float32(near[0])


def test_an_overlap_below_min_iou_begins_a_new_track():
    # Half a width apart: IoU 1/3.
    for min_iou, expected in ((0.3, [1]), (0.4, [2])):
        tracker = Tracker(min_iou=min_iou)
        tracker.update(objects(person(0.5)))
        assert ids(tracker.update(objects(person(0.55)))) == expected


def test_boxes_that_only_touch_are_never_the_same_object():
    tracker = Tracker(min_iou=0)
    tracker.update(objects(person(0.5)))
    assert ids(tracker.update(objects(person(0.9)))) == [2]


def test_an_object_of_another_class_is_another_object():
    tracker = Tracker()
    tracker.update(objects(person(0.5, category=1)))
    assert ids(tracker.update(objects(person(0.5, category=2)))) == [2]


def test_a_low_score_neither_begins_nor_continues_a_track():
    tracker = Tracker(min_score=0.4)
    faint = objects(person(0.5, score=0.39))
    clip = [faint, objects(person(0.5)), faint, objects(person(0.5))]
    assert follow(tracker, clip) == [[], [1], [], [1]]


@pytest.mark.parametrize(
    "row",
    [
        [np.nan, 0.1, 0.2, 0.3, 0.9, 1],
        [0.1, 0.1, np.inf, 0.3, 0.9, 1],
        [0.1, 0.1, 0.2, 0.3, np.nan, 1],
        [0.2, 0.1, 0.2, 0.3, 0.9, 1],
        [0.3, 0.1, 0.2, 0.3, 0.9, 1],
    ],
)
def test_what_is_no_box_is_passed_over(row: list[float]):
    tracker = Tracker()
    clip = [objects(row, person(0.5)), objects(row, person(0.5))]
    assert follow(tracker, clip) == [[1], [1]]


def test_the_objects_stay_as_they_were():
    given_objects = objects(person(0.3), person(0.7))
    given_objects.flags.writeable = False
    before = given_objects.copy()
    tracker = Tracker()
    tracks = tracker.update(given_objects)
    tracks[:] = 0
    assert ids(tracker.update(given_objects)) == [1, 2]
    assert given_objects.tolist() == before.tolist()


@pytest.mark.parametrize("shape", [(6,), (1, 5), (1, 7), (1, 1, 6)])
def test_another_shape_is_refused_by_its_name(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"shape \[N, 6\], not \["):
        Tracker().update(np.zeros(shape, np.float32))


def test_text_is_refused():
    with pytest.raises(ValueError, match="objects are numbers"):
        Tracker().update(np.full((1, 6), "a"))


def run(options: str = "") -> CalculatorRunner:
    node = 'input_stream: "OBJECTS:objects" output_stream: "TRACKS:tracks" '
    kind = "type.googleapis.com/ovms_mp.ObjectTrackerCalculatorOptions"
    node += 'calculator: "ObjectTrackerCalculator" '
    node += f"node_options {{ [{kind}] {{ {options} }} }}"
    return CalculatorRunner(ObjectTrackerCalculator, node)


def tracks_of(runner: CalculatorRunner) -> list[tuple[int, list[int]]]:
    return [(at, ids(payload)) for at, payload in runner.outputs["tracks"]]


def test_the_documented_node_tracks():
    runner = CalculatorRunner(ObjectTrackerCalculator, node_of(object_tracker))
    for at in (3, 7):
        runner.feed("objects", objects(person(0.5)), at=at)
    assert tracks_of(runner) == [(3, [1]), (7, [1])]


def test_the_options_reach_the_tracker():
    runner = run("min_score: 0.95")
    runner.feed("objects", objects(person(0.5, score=0.9)), at=0)
    assert tracks_of(runner) == [(0, [])]
    runner = run("max_lost: 0")
    clip = [objects(person(0.5)), NOBODY, objects(person(0.5))]
    runner.feed_all("objects", list(enumerate(clip)))
    assert tracks_of(runner) == [(0, [1]), (1, []), (2, [2])]


def test_every_run_counts_for_itself():
    first, second = run(), run()
    first.feed_all("objects", [(0, objects(person(0.2), person(0.8)))])
    second.feed("objects", objects(person(0.5)), at=0)
    first.feed("objects", objects(person(0.5)), at=1)
    assert tracks_of(first) == [(0, [1, 2]), (1, [3])]
    assert tracks_of(second) == [(0, [1])]


def test_objects_of_the_wrong_shape_fail_the_run():
    runner = run()
    runner.feed("objects", np.zeros((1, 5), np.float32), at=0)
    assert runner.is_done
    assert runner.error is not None
    assert "[N, 6]" in runner.error.text


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("min_score: 1.5", "min_score is between 0 and 1, not 1.5"),
        ("min_iou: -0.1", "min_iou is between 0 and 1, not -0.1"),
        ("max_lost: -1", "max_lost is 0 or more, not -1"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_load(options: str, complaint: str):
    with pytest.raises(ServingError) as refusal:
        run(options)
    assert complaint in refusal.value.text

"""Laws of layers: nothing lies on anything else, and arrows point down."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.drawing.layers import (
    GAP,
    Arrow,
    Box,
    Edge,
    Level,
    against_the_flow,
    arrange,
)

SIZES = st.tuples(st.integers(6, 300), st.integers(0, 200))


@st.composite
def levels(draw: st.DrawFn) -> tuple[list[Box], list[Arrow], frozenset[int], Level]:
    sizes = draw(st.lists(SIZES, min_size=1, max_size=12))
    edges = draw(st.lists(st.sampled_from([None, None, None, *Edge]), min_size=12))
    boxes = [Box(*size, edge) for size, edge in zip(sizes, edges, strict=False)]
    number = st.integers(0, len(boxes) - 1)
    pairs = draw(st.lists(st.tuples(number, number), max_size=24))
    # What has a place at an edge has nothing beyond it.
    pairs = [
        (one, other)
        for one, other in pairs
        if boxes[one].edge is not Edge.BOTTOM and boxes[other].edge is not Edge.TOP
    ]
    arrows = [Arrow(*pair) for pair in pairs]
    upwards = against_the_flow(len(boxes), pairs, [])
    return boxes, arrows, upwards, arrange(boxes, arrows, upwards)


def sides(box: Box, centre: tuple[float, float]) -> tuple[float, float, float, float]:
    x, y = centre
    return (
        x - box.width / 2,
        y - box.height / 2,
        x + box.width / 2,
        y + box.height / 2,
    )


@given(levels())
def test_boxes_do_not_touch(
    made: tuple[list[Box], list[Arrow], frozenset[int], Level],
) -> None:
    boxes, _, _, level = made
    placed = list(map(sides, boxes, level.centres))
    for one, other in combinations(placed, 2):
        beside = other[0] - one[2] >= GAP - 1e-6 or one[0] - other[2] >= GAP - 1e-6
        above = other[1] >= one[3] or one[1] >= other[3]
        assert beside or above
    assert all(left >= -1e-6 and top >= -1e-6 for left, top, _, _ in placed)
    assert all(right <= level.width + 1e-6 for _, _, right, _ in placed)
    assert all(bottom <= level.height + 1e-6 for _, _, _, bottom in placed)


@given(levels())
def test_an_arrow_goes_down_from_its_source_to_its_target_or_is_upwards(
    made: tuple[list[Box], list[Arrow], frozenset[int], Level],
) -> None:
    boxes, arrows, upwards, level = made
    placed = list(map(sides, boxes, level.centres))
    for number, (arrow, route) in enumerate(zip(arrows, level.routes, strict=True)):
        if arrow.source == arrow.target:
            assert route == ()
            continue
        way = route[::-1] if number in upwards else route
        upper, lower = arrow.source, arrow.target
        if number in upwards:
            upper, lower = lower, upper
        assert [y for _, y in way] == sorted(y for _, y in way)
        assert len(way) % 2 == 0
        for (x, y), box, side in ((way[0], upper, 3), (way[-1], lower, 1)):
            assert y == pytest.approx(placed[box][side])
            assert placed[box][0] - 1e-6 <= x <= placed[box][2] + 1e-6


@given(levels())
def test_an_arrow_passes_boxes_by(
    made: tuple[list[Box], list[Arrow], frozenset[int], Level],
) -> None:
    boxes, arrows, _, level = made
    placed = list(map(sides, boxes, level.centres))
    for arrow, route in zip(arrows, level.routes, strict=True):
        for (x, y), (_, end) in zip(route[::2], route[1::2], strict=True):
            for number, (left, top, right, bottom) in enumerate(placed):
                if number not in {arrow.source, arrow.target} and top < bottom:
                    is_beside = x <= left or x >= right
                    assert is_beside or max(y, end) <= top or min(y, end) >= bottom


@given(levels())
def test_what_belongs_to_an_edge_is_there_alone(
    made: tuple[list[Box], list[Arrow], frozenset[int], Level],
) -> None:
    boxes, _, _, level = made
    heights = {
        edge: [
            y
            for box, (_, y) in zip(boxes, level.centres, strict=True)
            if box.edge is edge
        ]
        for edge in (Edge.TOP, None, Edge.BOTTOM)
    }
    assert len(set(heights[Edge.TOP])) <= 1
    assert len(set(heights[Edge.BOTTOM])) <= 1
    ordered = [max(ys) for ys in heights.values() if ys]
    assert ordered == sorted(ordered)


def test_the_same_graph_is_the_same_picture() -> None:
    boxes = [Box(50, 20)] * 30
    arrows = [Arrow(n // 3, n) for n in range(1, 30)] + [Arrow(n, 29) for n in range(9)]
    once = arrange(boxes, arrows, frozenset())
    assert arrange(boxes, arrows, frozenset()) == once


def test_a_chain_is_a_straight_line() -> None:
    boxes = [Box(width, 20) for width in (50, 200, 80, 120)]
    arrows = [Arrow(n, n + 1) for n in range(3)]
    level = arrange(boxes, arrows, frozenset())
    assert [x for x, _ in level.centres] == pytest.approx([100.0] * 4)


def test_without_anything_there_is_nothing() -> None:
    assert arrange([], [], frozenset()) == Level((), (), 0, 0)


def test_a_back_arrow_is_what_points_upwards() -> None:
    arrows = [(0, 1), (1, 2), (2, 0)]
    assert against_the_flow(3, arrows, [1]) == {1}
    assert against_the_flow(3, arrows, []) == {2}

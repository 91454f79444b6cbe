"""Laws of a picture: groups hold what is in them, and lines reach what they are for."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovms_mp.drawing.items import Drawing, Item, Link, Look
from ovms_mp.drawing.layout import Picture, Placed, lay_out


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    parents = draw(st.lists(st.integers(-1, 4), min_size=1, max_size=5))
    groups = [
        Item(
            f"g{number}",
            Look.GROUP,
            (f"group {number}",),
            inside="" if parent < 0 or parent >= number else f"g{parent}",
        )
        for number, parent in enumerate(parents)
    ]
    within = st.sampled_from(["", *(group.key for group in groups)])
    nodes = [
        Item(f"n{number}", Look.NODE, (f"Node{number}", "more"), inside=inside)
        for number, inside in enumerate(draw(st.lists(within, max_size=8)))
    ]
    pills = [
        Item(f"s{number}", Look.STREAM, (f"stream_{number}",), inside=inside)
        for number, inside in enumerate(draw(st.lists(within, max_size=8)))
    ]
    links: list[Link] = []
    if nodes and pills:
        node = st.sampled_from([each.key for each in nodes])
        pill = st.sampled_from([each.key for each in pills])
        for one, other in draw(st.lists(st.tuples(node, pill), max_size=8)):
            links.append(Link(one, other))
        for one, other, is_back in draw(
            st.lists(st.tuples(pill, node, st.booleans()), max_size=12)
        ):
            links.append(Link(one, other, is_back=is_back))
    return Drawing((*groups, *nodes, *pills), tuple(links))


def holds(outer: Placed, inner: Placed) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and outer.x + outer.width >= inner.x + inner.width
        and outer.y + outer.height >= inner.y + inner.height
    )


def is_apart(one: Placed, other: Placed) -> bool:
    return (
        one.x + one.width <= other.x
        or other.x + other.width <= one.x
        or one.y + one.height <= other.y
        or other.y + other.height <= one.y
    )


def on_border(placed: Placed, point: tuple[float, float]) -> bool:
    x, y = point
    ends = placed.y, placed.y + placed.height
    is_beside = placed.x - 1e-6 <= x <= placed.x + placed.width + 1e-6
    return is_beside and any(y == pytest.approx(end) for end in ends)


@given(drawings())
def test_items_are_in_their_groups_and_apart_from_others(drawing: Drawing) -> None:
    picture = lay_out(drawing)
    placed = {each.item.key: each for each in picture.items}
    assert placed.keys() == {item.key for item in drawing.items}
    for each in picture.items:
        if each.item.inside:
            assert holds(placed[each.item.inside], each)
            assert each.depth == placed[each.item.inside].depth + 1
    for one, other in combinations(picture.items, 2):
        if one.item.inside == other.item.inside:
            assert is_apart(one, other)
    assert all(
        each.x >= 0 and each.x + each.width <= picture.width for each in picture.items
    )


@given(drawings())
def test_a_line_begins_and_ends_at_its_items(drawing: Drawing) -> None:
    picture = lay_out(drawing)
    placed = {each.item.key: each for each in picture.items}
    assert len(picture.lines) == len(drawing.links)
    for line in picture.lines:
        assert on_border(placed[line.link.source], line.points[0])
        assert on_border(placed[line.link.target], line.points[-1])


def picture_of_a_loop() -> Picture:
    items = (
        Item("outer", Look.GROUP, ("outer",)),
        Item("inner", Look.GROUP, ("inner",), inside="outer"),
        Item("in", Look.INPUT, ("in",)),
        Item("loop", Look.NODE, ("Loop",), inside="inner"),
        Item("out", Look.OUTPUT, ("out",)),
    )
    links = (Link("in", "loop"), Link("loop", "out"), Link("out", "loop", is_back=True))
    return lay_out(Drawing(items, links))


def test_a_line_crosses_the_border_of_a_group_straight() -> None:
    picture = picture_of_a_loop()
    placed = {each.item.key: each for each in picture.items}
    into = next(line for line in picture.lines if line.link.source == "in")
    heights = {y for _, y in into.points}
    assert placed["outer"].y in heights
    assert placed["inner"].y in heights
    inside = {x for x, y in into.points if y >= placed["outer"].y}
    assert len(inside) <= 2


def test_a_back_edge_goes_up() -> None:
    picture = picture_of_a_loop()
    (back,) = (line for line in picture.lines if line.link.is_back)
    heights = [y for _, y in back.points]
    assert heights == sorted(heights, reverse=True)


def test_a_name_that_is_too_long_is_cut() -> None:
    picture = lay_out(Drawing((Item("n", Look.NODE, ("N" * 500,), "N" * 500),), ()))
    (placed,) = picture.items
    assert placed.lines[0].endswith("N…")
    assert picture.width < 400


def test_a_link_to_nothing_is_refused() -> None:
    drawing = Drawing((Item("n", Look.NODE, ("n",)),), (Link("n", "gone"),))
    with pytest.raises(ValueError, match="there is no item 'gone'"):
        lay_out(drawing)

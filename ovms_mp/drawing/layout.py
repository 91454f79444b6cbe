"""A drawing becomes a picture: every item has its place, groups around what is in them.

A group is laid out by itself, and then stands in the level around it as a box. Where a
line crosses its border there is a door: at the top for what flows in, at the bottom for
what flows out, the other way round against the flow.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from ovms_mp.drawing.items import Drawing, Item, Link, Look
from ovms_mp.drawing.layers import Arrow, Box, Edge, against_the_flow, arrange

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ovms_mp.drawing.layers import Level, Point

MAX_TEXT: Final = 34
"""Characters of a line on an item; what is longer is cut, its title has all of it."""

HEADING: Final = 22.0
"""Height of a group's own line, in pixels as all here."""
MARGIN: Final = 16.0
LINE: Final = 15.0
PADDING: Final = 8.0
PILL: Final = 20.0
_BOLD: Final = 7.7
_LETTER: Final = 6.7
_LEAST_WIDTH: Final = 64.0
_DOOR: Final = 6.0


@dataclass(frozen=True, slots=True)
class Placed:
    """An item and its rectangle, by the top left corner. `depth` counts the groups that
    it is in; `lines` are cut to what there is room for.
    """

    item: Item
    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A link and the points of its way: straight from even ones to the next, bent from
    odd ones to the next.
    """

    link: Link
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """Items, those around others first, and lines, in pixels from the top left."""

    items: tuple[Placed, ...]
    lines: tuple[Line, ...]
    width: float
    height: float


def lay_out(drawing: Drawing) -> Picture:
    """Place everything. Raises ValueError for a link to an item that there is not."""
    return _Layout(drawing).picture()


class _Door(NamedTuple):
    """Where a link crosses the border of a group: all that go to, or come from, the same
    item outside share one.
    """

    outside: str
    is_in: bool


class _Crossing(NamedTuple):
    """A link's part in one level: from an item or a door there to another."""

    source: str | _Door
    target: str | _Door
    is_back: bool
    at_source: _Door | None
    at_target: _Door | None


class _Group(NamedTuple):
    """A group that is laid out, with distances of doors from its middle."""

    level: Level
    keys: tuple[str | _Door, ...]
    crossings: Mapping[_Crossing, int]
    width: float
    height: float
    doors: Mapping[_Door, float]
    is_upwards: Mapping[_Crossing, bool]


class _Layout:
    def __init__(self, drawing: Drawing) -> None:
        self._items = {item.key: item for item in drawing.items}
        self._links = drawing.links
        self._children: dict[str, list[str]] = defaultdict(list)
        for item in drawing.items:
            self._children[item.inside].append(item.key)
        self._crossings: dict[str, dict[_Crossing, None]] = defaultdict(dict)
        self._ways = [self._way(link) for link in drawing.links]
        self._groups: dict[str, _Group] = {}
        self._placed: list[Placed] = []
        self._corners: dict[str, Point] = {}

    def picture(self) -> Picture:
        """Everything in its place."""
        whole = self._lay_out("", {})
        self._place("", MARGIN, MARGIN, 0)
        lines = [
            Line(link, points)
            for link, way in zip(self._links, self._ways, strict=True)
            if (points := self._points(way))
        ]
        width = whole.level.width + 2 * MARGIN
        height = whole.level.height + 2 * MARGIN
        return Picture(tuple(self._placed), tuple(lines), width, height)

    def _within(self, key: str) -> list[str]:
        """The groups that an item is in, from the outermost, "" first."""
        if key not in self._items:
            msg = f"there is no item {key!r}"
            raise ValueError(msg)
        found = [key]
        while found[-1]:
            found.append(self._items[found[-1]].inside)
        return found[::-1]

    def _way(self, link: Link) -> list[tuple[str, _Crossing]]:
        """A link's crossings, in its direction, each with the group it is in."""
        start, end = self._within(link.source), self._within(link.target)
        common = 0
        while (
            common < min(len(start), len(end)) - 1
            and start[common + 1] == end[common + 1]
        ):
            common += 1
        leaving = _Door(link.target, is_in=False)
        entering = _Door(link.source, is_in=True)
        way: list[tuple[str, _Crossing]] = []
        for depth in range(len(start) - 2, common, -1):
            at = leaving if depth + 2 < len(start) else None
            crossing = _Crossing(start[depth + 1], leaving, link.is_back, at, None)
            way.append((start[depth], crossing))
        if common < min(len(start), len(end)) - 1:
            way.append(
                (
                    start[common],
                    _Crossing(
                        start[common + 1],
                        end[common + 1],
                        link.is_back,
                        leaving if common + 2 < len(start) else None,
                        entering if common + 2 < len(end) else None,
                    ),
                )
            )
        for depth in range(common + 1, len(end) - 1):
            at = entering if depth + 2 < len(end) else None
            crossing = _Crossing(entering, end[depth + 1], link.is_back, None, at)
            way.append((end[depth], crossing))
        for group, crossing in way:
            self._crossings[group][crossing] = None
        return way

    def _lay_out(self, group: str, doors: Mapping[_Door, Edge]) -> _Group:
        """`doors` says on which side each is."""
        keys = (*self._children[group], *doors)
        numbers: dict[str | _Door, int] = {key: n for n, key in enumerate(keys)}
        crossings = {each: n for n, each in enumerate(self._crossings[group])}
        ends = [(numbers[each.source], numbers[each.target]) for each in crossings]
        back = [
            number
            for each, number in crossings.items()
            if each.is_back or self._is_turned(each, doors)
        ]
        upwards = against_the_flow(len(keys), ends, back)
        inner = self._doors_within(crossings, upwards)
        for key in self._children[group]:
            if self._items[key].look is Look.GROUP:
                self._groups[key] = self._lay_out(key, inner.get(key, {}))
        boxes = [self._box(key, doors) for key in keys]
        arrows = [
            Arrow(
                numbers[each.source],
                numbers[each.target],
                self._offset(each.source, each.at_source),
                self._offset(each.target, each.at_target),
            )
            for each in crossings
        ]
        level = arrange(boxes, arrows, upwards)
        heading = 0.0
        sides = 0.0
        if group:
            heading, sides = HEADING, 2 * MARGIN
            name = _width(_cut(self._items[group].lines), _BOLD)
            sides = max(sides, name - level.width)
        width, height = level.width + sides, level.height + 2 * heading
        found = {
            door: level.centres[numbers[door]][0] - level.width / 2 for door in doors
        }
        turned = {each: number in upwards for each, number in crossings.items()}
        made = _Group(level, keys, crossings, width, height, found, turned)
        if not group:
            self._groups[""] = made
        return made

    def _is_turned(self, crossing: _Crossing, doors: Mapping[_Door, Edge]) -> bool:
        """True if a door is on the side that this cannot reach with the flow."""
        return (
            isinstance(crossing.source, _Door) and doors[crossing.source] is Edge.BOTTOM
        ) or (isinstance(crossing.target, _Door) and doors[crossing.target] is Edge.TOP)

    def _doors_within(
        self, crossings: Mapping[_Crossing, int], upwards: frozenset[int]
    ) -> Mapping[str, dict[_Door, Edge]]:
        """The doors of the groups in a level, and on which side each is."""
        found: dict[str, dict[_Door, Edge]] = defaultdict(dict)
        for each, number in crossings.items():
            is_up = number in upwards
            if each.at_source is not None and isinstance(each.source, str):
                found[each.source][each.at_source] = Edge.TOP if is_up else Edge.BOTTOM
            if each.at_target is not None and isinstance(each.target, str):
                found[each.target][each.at_target] = Edge.BOTTOM if is_up else Edge.TOP
        return found

    def _box(self, key: str | _Door, doors: Mapping[_Door, Edge]) -> Box:
        if isinstance(key, _Door):
            return Box(_DOOR, 0.0, doors[key])
        item = self._items[key]
        if item.look is Look.GROUP:
            return Box(self._groups[key].width, self._groups[key].height)
        width, height = _size(item)
        return Box(width, height, Edge.TOP if item.look is Look.INPUT else None)

    def _offset(self, key: str | _Door, door: _Door | None) -> float | None:
        if isinstance(key, _Door):
            return 0.0
        return None if door is None else self._groups[key].doors[door]

    def _place(self, group: str, x: float, y: float, depth: int) -> None:
        """Place what is in a group whose level begins at (x, y)."""
        laid_out = self._groups[group]
        self._corners[group] = (x, y)
        for key, (middle, centre) in zip(
            laid_out.keys, laid_out.level.centres, strict=True
        ):
            if isinstance(key, _Door):
                continue
            item = self._items[key]
            inner = self._groups.get(key)
            width, height = (inner.width, inner.height) if inner else _size(item)
            left, top = x + middle - width / 2, y + centre - height / 2
            lines = _cut(item.lines)
            self._placed.append(Placed(item, left, top, width, height, lines, depth))
            if inner:
                margin = (inner.width - inner.level.width) / 2
                self._place(key, left + margin, top + HEADING, depth + 1)

    def _points(self, way: Sequence[tuple[str, _Crossing]]) -> tuple[Point, ...]:
        points: list[Point] = []
        for group, crossing in way:
            laid_out = self._groups[group]
            x, y = self._corners[group]
            route = laid_out.level.routes[laid_out.crossings[crossing]]
            points += [(x + left, y + top) for left, top in route]
        return tuple(points)


def _size(item: Item) -> tuple[float, float]:
    lines = _cut(item.lines)
    if item.look.is_pill:
        return _width(lines, _LETTER), PILL
    return _width(lines, _BOLD), LINE * len(lines) + 2 * PADDING


def _width(lines: Sequence[str], first: float) -> float:
    """Of these lines; a letter of the first takes so many pixels."""
    sizes = (len(line) * (_LETTER if n else first) for n, line in enumerate(lines))
    return max(_LEAST_WIDTH, max(sizes, default=0) + 2 * PADDING)


def _cut(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(
        line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 1]}…" for line in lines
    )

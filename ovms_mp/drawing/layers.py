"""Rectangles and arrows between them in layers from top to bottom, by Sugiyama's method:
the layers here, their order with few crossings by fast-sugiyama, and places for
rectangles of different sizes here again. The same input always gives the same picture.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from fast_sugiyama import from_edges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Point = tuple[float, float]

GAP: Final = 18.0
"""Between neighbours in a layer."""
_LAYER_GAP: Final = (24.0, 72.0)
_SLANT: Final = 7.0
_LANE: Final = 10.0
_STEP: Final = 16.0
_SWEEPS: Final = 40
_LAST_SWEEPS: Final = 0


class Edge(Enum):
    """Where in a level a rectangle has to be."""

    TOP = "top"
    BOTTOM = "bottom"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle to be placed."""

    width: float
    height: float
    edge: Edge | None = None


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one box to another, by their numbers. Ends that are given lie at a distance
    from the middle of a side, others are spread over it.
    """

    source: int
    target: int
    from_offset: float | None = None
    to_offset: float | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """Centres of the boxes, and points for each arrow: it goes straight between the
    second and the third, the fourth and the fifth and so on, and bends in between.
    """

    centres: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def against_the_flow(
    count: int, arrows: Sequence[tuple[int, int]], back: Iterable[int]
) -> frozenset[int]:
    """Numbers of the arrows that have to point upwards among `count` boxes: those of
    `back`, and as many more as it takes to leave no cycle.
    """
    found = {number for number, (one, other) in enumerate(arrows) if one == other}
    found.update(back)
    after: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, (source, target) in enumerate(arrows):
        if number not in found:
            after[source].append((number, target))
    done: set[int] = set()
    for start in range(count):
        path: dict[int, Iterator[tuple[int, int]]] = {}
        if start not in done:
            path[start] = iter(after[start])
        while path:
            here = next(reversed(path))
            number, target = next(path[here], (-1, -1))
            if number < 0:
                done.add(here)
                del path[here]
            elif target in path:
                found.add(number)
            elif target not in done:
                path[target] = iter(after[target])
    return frozenset(found)


def arrange(
    boxes: Sequence[Box], arrows: Sequence[Arrow], upwards: frozenset[int]
) -> Level:
    """Place everything; `upwards` are the arrows that `against_the_flow` found."""
    return _Arrangement(boxes, arrows, upwards).level()


class _Half(NamedTuple):
    """One step of an arrow from a layer to the next, as seen from either end."""

    other: int
    shift: float
    weight: float


@dataclass(slots=True)
class _Spot:
    """A box, or a lane that an arrow passes a layer in."""

    width: float
    height: float
    is_lane: bool = False
    x: float = 0.0
    above: list[_Half] = field(default_factory=list[_Half])
    below: list[_Half] = field(default_factory=list[_Half])


class _Arrangement:
    def __init__(
        self, boxes: Sequence[Box], arrows: Sequence[Arrow], upwards: frozenset[int]
    ) -> None:
        self._arrows = arrows
        self._upwards = upwards
        self._count = len(boxes)
        down = [self._down(number) for number in range(len(arrows))]
        ranks = _ranks(boxes, [(upper, lower) for upper, lower, *_ in down])
        self._spots = [_Spot(each.width, each.height) for each in boxes]
        self._ranks = list(ranks)
        self._chains = [
            self._chain(upper, lower, at_upper, at_lower)
            for upper, lower, at_upper, at_lower in down
        ]
        self._layers = self._ordered()

    def _down(self, number: int) -> tuple[int, int, float, float]:
        arrow = self._arrows[number]
        ends = (arrow.source, arrow.target)
        offsets = (arrow.from_offset or 0.0, arrow.to_offset or 0.0)
        if number in self._upwards:
            return ends[1], ends[0], offsets[1], offsets[0]
        return *ends, *offsets

    def _chain(
        self, upper: int, lower: int, at_upper: float, at_lower: float
    ) -> list[int]:
        """The spots of an arrow, a lane in each layer that it passes."""
        chain = [upper]
        if upper == lower:
            return chain
        for rank in range(self._ranks[upper] + 1, self._ranks[lower]):
            chain.append(len(self._spots))
            self._spots.append(_Spot(_LANE, 0.0, is_lane=True))
            self._ranks.append(rank)
        chain.append(lower)
        for one, other in pairwise(chain):
            first, second = self._spots[one], self._spots[other]
            weight = (1.0, 3.0, 9.0)[first.is_lane + second.is_lane]
            shift = at_upper * (one == upper) - at_lower * (other == lower)
            first.below.append(_Half(other, -shift, weight))
            second.above.append(_Half(one, shift, weight))
        return chain

    def _ordered(self) -> list[list[int]]:
        steps = sorted({step for chain in self._chains for step in pairwise(chain)})
        place: dict[int, tuple[int, float]] = dict.fromkeys(
            range(len(self._spots)), (0, 0.0)
        )
        if steps:
            found = from_edges(
                steps,
                dummy_vertices=False,
                check_layout=False,
                ranking_type="minimize",
            )
            parts = [dict(part[0]) for part in found]
            parts.sort(key=lambda part: min(int(spot) for spot in part))
            for number, part in enumerate(parts, start=1):
                place.update((int(spot), (number, at[0])) for spot, at in part.items())
        layers: list[list[int]] = [[] for _ in range(max(self._ranks, default=-1) + 1)]
        for spot, rank in enumerate(self._ranks):
            layers[rank].append(spot)
        for layer in layers:
            layer.sort(key=lambda spot: (*place[spot], spot))
        return layers

    def level(self) -> Level:
        """Everything in its place, from (0, 0) on."""
        self._pack()
        for sweep in range(_SWEEPS):
            is_downward = sweep % 2 == 0
            is_last = sweep >= _SWEEPS - _LAST_SWEEPS
            for layer in self._layers if is_downward else reversed(self._layers):
                self._settle(layer, is_downward, both=is_last)
        left = min((each.x - each.width / 2 for each in self._spots), default=0.0)
        right = max((each.x + each.width / 2 for each in self._spots), default=0.0)
        for spot in self._spots:
            spot.x -= left
        middles, height = self._heights()
        centres = tuple(
            (spot.x, middles[rank])
            for spot, rank in zip(
                self._spots[: self._count], self._ranks[: self._count], strict=True
            )
        )
        return Level(centres, self._routes(middles), right - left, height)

    def _pack(self) -> None:
        for layer in self._layers:
            right = 0.0
            for number in layer:
                spot = self._spots[number]
                spot.x = right + spot.width / 2
                right += spot.width + GAP
            for number in layer:
                self._spots[number].x -= right / 2

    def _settle(self, layer: Sequence[int], is_downward: bool, *, both: bool) -> None:
        """Move the spots of a layer under (above) what they are linked to, as near as
        their order and sizes let them, in least squares.
        """
        wanted: list[float] = []
        weights: list[float] = []
        for number in layer:
            spot = self._spots[number]
            halves = spot.above if is_downward else spot.below
            if both or not halves:
                halves = [*spot.above, *spot.below]
            total = sum(each.weight for each in halves)
            pull = sum(
                each.weight * (self._spots[each.other].x + each.shift)
                for each in halves
            )
            wanted.append(pull / total if total else spot.x)
            weights.append(total or 0.1)
        spots = [self._spots[number] for number in layer]
        apart = [
            (one.width + other.width) / 2 + GAP / (1 + (one.is_lane and other.is_lane))
            for one, other in pairwise(spots)
        ]
        for spot, x in zip(spots, _nearest(wanted, weights, apart), strict=True):
            spot.x = x

    def _heights(self) -> tuple[list[float], float]:
        """The middle of each layer, and the height of all."""
        slants: dict[int, float] = defaultdict(float)
        for chain in self._chains:
            for one, other in pairwise(chain):
                rank = self._ranks[one]
                slant = abs(self._spots[one].x - self._spots[other].x)
                slants[rank] = max(slants[rank], slant)
        middles: list[float] = []
        bottom = 0.0
        for rank, layer in enumerate(self._layers):
            height = self._layer_height(layer)
            if rank:
                least, most = _LAYER_GAP
                bottom += min(most, max(least, slants[rank - 1] / _SLANT))
            middles.append(bottom + height / 2)
            bottom += height
        return middles, bottom

    def _layer_height(self, layer: Iterable[int]) -> float:
        return max((self._spots[number].height for number in layer), default=0.0)

    def _routes(self, middles: Sequence[float]) -> tuple[tuple[Point, ...], ...]:
        ends = self._ends()
        half = [self._layer_height(layer) / 2 for layer in self._layers]
        routes: list[tuple[Point, ...]] = []
        for number, chain in enumerate(self._chains):
            if len(chain) < 2:
                routes.append(())
                continue
            upper, lower = self._spots[chain[0]], self._spots[chain[-1]]
            middle = middles[self._ranks[chain[0]]]
            points = [(upper.x + ends[number, 0], middle + upper.height / 2)]
            rank = self._ranks[chain[0]]
            points.append((points[0][0], middles[rank] + half[rank]))
            for each in chain[1:-1]:
                rank, x = self._ranks[each], self._spots[each].x
                points += [
                    (x, middles[rank] - half[rank]),
                    (x, middles[rank] + half[rank]),
                ]
            rank = self._ranks[chain[-1]]
            x = lower.x + ends[number, 1]
            points += [
                (x, middles[rank] - half[rank]),
                (x, middles[rank] - lower.height / 2),
            ]
            routes.append(
                tuple(reversed(points)) if number in self._upwards else tuple(points)
            )
        return tuple(routes)

    def _ends(self) -> Mapping[tuple[int, int], float]:
        """Where each arrow leaves its upper box (0) and reaches its lower one (1), from
        the middle of the side: neighbours do not cross.
        """
        found: dict[tuple[int, int], float] = {}
        sides: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
        for number, chain in enumerate(self._chains):
            if len(chain) < 2:
                continue
            arrow = self._arrows[number]
            given = (arrow.from_offset, arrow.to_offset)
            if number in self._upwards:
                given = given[::-1]
            for side, (spot, neighbour) in enumerate((chain[:2], chain[:-3:-1])):
                offset = given[side]
                if offset is not None:
                    found[number, side] = offset
                else:
                    sides[spot, side].append((self._spots[neighbour].x, number))
        for (spot, side), arrows in sides.items():
            room = max(0.0, self._spots[spot].width - _STEP)
            step = min(_STEP, room / len(arrows))
            for place, (_, number) in enumerate(sorted(arrows)):
                found[number, side] = step * (place - (len(arrows) - 1) / 2)
        return found


def _ranks(boxes: Sequence[Box], arrows: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each box: below all that points to it, as far up as that allows, but
    no higher than it has to be for what it points to if nothing points to it.
    """
    above: dict[int, list[int]] = defaultdict(list)
    below: dict[int, list[int]] = defaultdict(list)
    for upper, lower in arrows:
        if upper != lower:
            above[lower].append(upper)
            below[upper].append(lower)
    has_top = any(box.edge is Edge.TOP for box in boxes)
    ranks = [0] * len(boxes)
    for number in _topological(len(boxes), above, below):
        least = int(has_top and boxes[number].edge is not Edge.TOP)
        ranks[number] = max([least, *(ranks[each] + 1 for each in above[number])])
    for number, box in enumerate(boxes):
        if not above[number] and below[number] and box.edge is None:
            ranks[number] = min(ranks[each] for each in below[number]) - 1
    inner = [rank for rank, box in zip(ranks, boxes, strict=True) if not _is_last(box)]
    last = max(inner, default=-1) + 1
    return [
        max(last, rank) if _is_last(box) else rank
        for rank, box in zip(ranks, boxes, strict=True)
    ]


def _is_last(box: Box) -> bool:
    return box.edge is Edge.BOTTOM


def _topological(
    count: int, above: Mapping[int, Sequence[int]], below: Mapping[int, Sequence[int]]
) -> list[int]:
    waits = {number: len(above.get(number, ())) for number in range(count)}
    order = [number for number in range(count) if not waits[number]]
    for number in order:
        for other in below.get(number, ()):
            waits[other] -= 1
            if not waits[other]:
                order.append(other)
    return order


def _nearest(
    wanted: Sequence[float], weights: Sequence[float], apart: Sequence[float]
) -> list[float]:
    """The places nearest to the wanted ones, in weighted least squares, that lie at
    least `apart` from each other in their order: pool adjacent violators.
    """
    sums = [0.0]
    for each in apart:
        sums.append(sums[-1] + each)
    blocks: list[tuple[float, float, int]] = []
    for place, weight, offset in zip(wanted, weights, sums, strict=False):
        mean, mass, size = place - offset, weight, 1
        while blocks and blocks[-1][0] > mean:
            other, more, members = blocks.pop()
            mean = (mean * mass + other * more) / (mass + more)
            mass, size = mass + more, size + members
        blocks.append((mean, mass, size))
    means = [mean for mean, _, size in blocks for _ in range(size)]
    return [mean + offset for mean, offset in zip(means, sums, strict=False)]

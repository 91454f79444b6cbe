"""What the figures are to come to, as ratios of rows of the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tests.bench import cases, limits, peers, undrawn, video, vision, vision_shares
from tests.bench.cases import Case
from tests.bench.measure import Row, latency_ratio, ratio
from tests.bench.models import EFFICIENTNET
from tests.bench.servers import BARE, BATCHING, CANNED, FEATURES, OURS

Tables: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Aim:
    """`above` over the mean of `below`, each a (case, server), is `least` or more; None:
    there is no aim, and the ratio is told to be known. What is compared are rates, or
    median latencies.
    """

    what: str
    above: tuple[str, str]
    below: tuple[tuple[str, str], ...]
    least: float | None
    of: Callable[..., float] = ratio

    def told(self, rows: Mapping[tuple[str, str], Row]) -> dict[str, Any] | None:
        """What it comes to; None if one of the rows was not measured."""
        keys = (self.above, *self.below)
        if any(key not in rows for key in keys):
            return None
        above, *below = (rows[key] for key in keys)
        found = self.of(above, *below)
        return {"what": self.what, "ratio": round(found, 2), "at least": self.least}


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure of a table, by its case and column, is `most` or less."""

    table: str
    case: str
    column: str
    most: float

    def told(self, tables: Tables) -> dict[str, Any] | None:
        """What it comes to; None if it was not measured."""
        for row in tables.get(self.table, ()):
            if row["case"] == self.case:
                what = f"{self.case}: {self.column}"
                return {"what": what, "ratio": row[self.column], "at most": self.most}
        return None


def _against(case: Case, other: str, least: float, server: str = OURS) -> Aim:
    return Aim(
        f"{case.name}: {server} / {other}",
        (case.name, server),
        ((case.name, other),),
        least,
    )


def _of_openvino(case: Case, least: float | None) -> Aim:
    below = ((case.name, limits.BEFORE), (case.name, limits.AFTER))
    what = f"{case.name}: {OURS} / benchmark_app"
    return Aim(what, (case.name, OURS), below, least)


# A tiny model is nearly all server, and a frame nearly all copies: of these, OpenVINO by
# itself is no measure.
_BESIDE_OPENVINO: Final = {(EFFICIENTNET, 8): 0.75}

# Beside mp.solutions, which has no wire, and neither draws nor gives frames back: rates of
# its own at least (1.5 is aimed at), and at most 1.2 times as long for a frame by itself.
_VISION: Final = (
    *(
        Aim(
            f"{scene.stream}: {ours} / {vision.SOLUTIONS}",
            (scene.stream, ours),
            ((scene.stream, vision.SOLUTIONS),),
            1.0,
        )
        for ours in (OURS, vision.UNDRAWN)
        for scene in vision.SCENES
    ),
    *(
        Aim(
            f"{scene.stream}, p50: {vision.SOLUTIONS} / {ours}",
            (scene.stream, vision.SOLUTIONS),
            ((scene.stream, ours),),
            0.83,
            latency_ratio,
        )
        for ours in (vision.ONE_BY_ONE, vision.UNDRAWN_ONE_BY_ONE)
        for scene in vision.SCENES
    ),
    Aim(
        f"{vision.HOLISTIC.streams} / one",
        (vision.HOLISTIC.streams, OURS),
        ((vision.HOLISTIC.stream, OURS),),
        1.0,
    ),
)

AIMS: Final = (
    *_VISION,
    _against(cases.TINY_16, peers.TRITON, 3.0),
    _against(cases.TINY_16, peers.KSERVE, 5.0),
    _against(cases.TINY_16, peers.MLSERVER, 6.0),
    _against(cases.TINY_1, peers.TRITON, 1.5),
    _against(cases.TINY_STREAMS, peers.TRITON, 3.0),
    _of_openvino(cases.EFFICIENTNET_8, 0.75),
    *(_against(cases.EFFICIENTNET_8, peer, 1.3) for peer in peers.NAMES),
    _of_openvino(cases.NSFW_8, 0.95),
    *(
        _of_openvino(case, _BESIDE_OPENVINO.get((case.model, case.in_flight)))
        for case in cases.UNARY
    ),
    _against(cases.FRAME_UNARY, peers.TRITON, 1.0),
    _against(cases.FRAME_STREAM, peers.TRITON, 1.0),
    _against(cases.TINY_16, BARE, 0.85, FEATURES),
    _against(cases.PERCEPTRON_16, OURS, 1.5, BATCHING),
    Aim(
        f"{cases.TINY_GRAPH_1.name} / {cases.TINY_1.name}",
        (cases.TINY_GRAPH_1.name, OURS),
        ((cases.TINY_1.name, OURS),),
        0.8,  # a latency of at most 1.25
    ),
    Aim(
        f"{video.CASE}: {OURS} / {video.IN_PROCESS}",
        (video.CASE, OURS),
        ((video.CASE, video.IN_PROCESS),),
        0.9,
    ),
    *(
        Aim(
            f"{case.name}: what the client can measure / {OURS}",
            (case.name, CANNED),
            ((case.name, OURS),),
            3.0,
        )
        # Where one request is in flight, or much is copied, both sides mostly wait for
        # each other or for memory, and the client's share is in the tables to be seen.
        for case in (cases.TINY_16, cases.TINY_STREAMS)
    ),
)


LIMITS: Final = (
    *(
        Limit(vision_shares.SHARES, graph, vision_shares.OUTSIDE, 25.0)
        for scene in (vision.HANDS, vision.POSE)
        for graph in (scene.graph, undrawn.name_of(scene.graph))
    ),
    Limit(
        vision_shares.MEMORY,
        vision.HOLISTIC.stream,
        vision_shares.FURTHER,
        10.0,
    ),
)


def told(rows: Sequence[Row], tables: Tables) -> list[dict[str, Any]]:
    """Those that this run can tell."""
    known = {(row.case, row.server): row for row in rows}
    found = [aim.told(known) for aim in AIMS]
    found += [limit.told(tables) for limit in LIMITS]
    return [each for each in found if each is not None]

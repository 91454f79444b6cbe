"""An object keeps its number from frame to frame: ObjectTrackerCalculator.

    node {
      calculator: "ObjectTrackerCalculator"
      input_stream: "OBJECTS:objects"    # [N, 6] FP32
      output_stream: "TRACKS:tracks"     # [M, 7] FP32, at the timestamp of objects
      node_options: {
        [type.googleapis.com/ovms_mp.ObjectTrackerCalculatorOptions] {
          min_score: 0.4
          min_iou: 0.2
          max_lost: 10
        }
      }
    }

A row of objects is x0, y0, x1, y1, score, class, the box in any unit. A row of tracks
is an object of this frame and its id. Ids count from 1 in each graph run and none is
given twice; in float32 they are exact up to 16,777,216.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    TensorInfo,
)
from ovms_mp.core.tensor import Array

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ovms_mp.calculator import Context, InferenceSession, NodeInfo

Rows: TypeAlias = NDArray[np.float32]
Floats: TypeAlias = NDArray[np.float64]

_OPTIONS: Final = graph.ObjectTrackerCalculatorOptions

_OBJECT_COLUMNS: Final = 6
_BOX: Final = slice(0, 4)
_CLASS: Final = 5

# How far a track's expectation and its velocity go towards what is seen: an alpha-beta
# filter. A detector's boxes jitter, and where people cross, one box may hold two of
# them; following boxes at once (1.0, 0.4) carries ids from one to the other there. On
# frames 150-249 of vtest.avi, 0.6-0.7 with 0.15-0.4 do best: 14 ids, 22 without motion.
_POSITION_GAIN: Final = 0.6
_VELOCITY_GAIN: Final = 0.3


@dataclass(slots=True)
class _Track:
    """An object that was seen: where it is expected, how fast it goes, and how many
    frames ago it was seen.
    """

    id: int
    box: Floats
    category: float
    velocity: Floats
    lost: int = 0

    def advance(self) -> None:
        """The next frame: it goes on as it did."""
        self.box = self.box + np.tile(self.velocity, 2)

    def follow(self, box: Floats) -> None:
        """Seen in this frame."""
        error = box - self.box
        drift = (error[:2] + error[2:]) / 2
        self.velocity = self.velocity + _VELOCITY_GAIN * drift / (self.lost + 1)
        self.box = self.box + _POSITION_GAIN * error
        self.lost = 0


class Tracker:
    """Tracks of one sequence of frames.

    Between frames a track moves at constant velocity. An object continues the track of
    its class whose expected box it overlaps most, if by `min_iou` or more; pairs are
    taken best first. What continues no track begins one. A track that nothing continued
    in more than `max_lost` successive frames ends.
    """

    def __init__(
        self, *, min_score: float = 0.4, min_iou: float = 0.2, max_lost: int = 10
    ) -> None:
        self._min_score = min_score
        self._min_iou = min_iou
        self._max_lost = max_lost
        self._tracks: list[_Track] = []
        self._next_id = 1

    def update(self, objects: Array) -> Rows:
        """Take the objects of the next frame, [N, 6]; give its tracks, [M, 7], by id.

        M is N less the objects that score too low or have no box: not finite, no area.
        Raises ValueError for another shape or for what is not a number.
        """
        seen = self._worth_following(objects)
        boxes = seen[:, _BOX].astype(np.float64)
        for track in self._tracks:
            track.advance()
        followed: dict[int, _Track] = {}
        for number, row in self._pairs(boxes, seen[:, _CLASS]):
            track = self._tracks[number]
            track.follow(boxes[row])
            followed[row] = track
        self._forget(list(followed.values()))
        for row in range(len(seen)):
            if row not in followed:
                followed[row] = self._begin(boxes[row], float(seen[row, _CLASS]))
        rows = sorted(followed, key=lambda row: followed[row].id)
        ids = np.array([[followed[row].id] for row in rows], np.float32)
        return np.hstack((seen[rows], ids.reshape(-1, 1)))

    def _worth_following(self, objects: Array) -> Rows:
        if objects.ndim != 2 or objects.shape[1] != _OBJECT_COLUMNS:
            msg = f"objects have shape [N, 6], not {list(objects.shape)}"
            raise ValueError(msg)
        if objects.dtype.kind not in "fiu":
            msg = f"objects are numbers, not {objects.dtype}"
            raise ValueError(msg)
        rows = objects.astype(np.float32)
        x0, y0, x1, y1, score, _ = rows.T
        is_box = np.isfinite(rows).all(axis=1) & (x0 < x1) & (y0 < y1)
        return rows[is_box & (score >= self._min_score)]

    def _pairs(self, boxes: Floats, categories: Rows) -> Iterator[tuple[int, int]]:
        """Tracks (by place) and the rows that continue them, each at most once."""
        if not self._tracks:
            return
        expected = np.stack([track.box for track in self._tracks])
        overlap = intersection_over_union(expected, boxes)
        wanted = np.array([[track.category] for track in self._tracks], np.float32)
        same = wanted == categories
        tracks, rows = np.nonzero(same & (overlap >= self._min_iou) & (overlap > 0))
        # Stable: of equal overlaps the older track's comes first.
        best_first = np.argsort(-overlap[tracks, rows], kind="stable")
        taken_tracks: set[int] = set()
        taken_rows: set[int] = set()
        for track, row in zip(
            tracks[best_first].tolist(), rows[best_first].tolist(), strict=True
        ):
            if track not in taken_tracks and row not in taken_rows:
                taken_tracks.add(track)
                taken_rows.add(row)
                yield track, row

    def _forget(self, followed: list[_Track]) -> None:
        ids = {track.id for track in followed}
        for track in self._tracks:
            if track.id not in ids:
                track.lost += 1
        self._tracks = [each for each in self._tracks if each.lost <= self._max_lost]

    def _begin(self, box: Floats, category: float) -> _Track:
        track = _Track(self._next_id, box, category, velocity=np.zeros(2))
        self._next_id += 1
        self._tracks.append(track)
        return track


def intersection_over_union(first: Floats, second: Floats) -> Floats:
    """Of each box of `first` [A, 4] with each of `second` [B, 4]: [A, B], 0 to 1.

    Boxes have an area above zero.
    """
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    return shared / (_area(first)[:, None] + _area(second)[None, :] - shared)


def _area(boxes: Floats) -> Floats:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


class ObjectTrackerCalculator(Calculator):
    """Gives the objects of a frame the ids of those they were in earlier frames.

    Tracks live as long as the graph run: two streams share none.
    """

    timestamp_offset = 0

    objects: Input[Array] = Input(np.ndarray, "OBJECTS")
    tracks: Output[Array] = Output(np.ndarray, "TRACKS")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Refuse numbers with which nothing could ever be tracked."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        limits = {"min_score": options.min_score, "min_iou": options.min_iou}
        for name, value in limits.items():
            if not 0 <= value <= 1:
                msg = f"{name} is between 0 and 1, not {value:g}"
                raise ContractError(msg)
        if options.max_lost < 0:
            msg = f"max_lost is 0 or more, not {options.max_lost}"
            raise ContractError(msg)

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """Rows of 6 numbers in, of 7 out."""
        infos = [
            *(TensorInfo(each.name, "FP32", (-1, 6)) for each in node.inputs),
            *(TensorInfo(each.name, "FP32", (-1, 7)) for each in node.outputs),
        ]
        return {info.name: info for info in infos}

    def open(self, ctx: Context) -> None:
        """Begin without any tracks."""
        self._tracker = Tracker(
            min_score=self.options.min_score,
            min_iou=self.options.min_iou,
            max_lost=self.options.max_lost,
        )

    def process(self, ctx: Context) -> None:
        """Take the objects of one frame."""
        ctx.send(self.tracks, self._tracker.update(ctx[self.objects]))

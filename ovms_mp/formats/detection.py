"""A detection is a box with scores, labels and key points (formats/detection.proto)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats: TypeAlias = NDArray[np.float32]

NO_KEYPOINTS: Final[Floats] = np.empty((0, 2), np.float32)
NO_KEYPOINTS.flags.writeable = False


class LocationFormat(Enum):
    """How a box is meant (LocationData.Format, but for MASK)."""

    GLOBAL = 0
    """The whole image; the box says nothing."""
    BOUNDING_BOX = 1
    """Whole pixels."""
    RELATIVE_BOUNDING_BOX = 2
    """Fractions of the image's width and height."""


class Box(NamedTuple):
    """Left top corner and size, in the unit of a LocationFormat."""

    xmin: float
    ymin: float
    width: float
    height: float


WHOLE_IMAGE: Final = Box(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """`scores` go with `label_ids` or `labels`, one each. `keypoints` is float32 [n, 2],
    x and y as fractions of the image, shared with others and so not to be written to.
    """

    box: Box
    scores: tuple[float, ...] = ()
    label_ids: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    keypoints: Floats = field(default_factory=lambda: NO_KEYPOINTS)
    format: LocationFormat = LocationFormat.RELATIVE_BOUNDING_BOX
    display_names: tuple[str, ...] = ()
    feature_tag: str = ""
    track_id: str = ""
    detection_id: int | None = None
    timestamp_usec: int | None = None

    def at(self, box: Box, keypoints: Floats) -> Detection:
        """The same one elsewhere; in a third of the time that `replace` takes."""
        return Detection(
            box,
            self.scores,
            self.label_ids,
            self.labels,
            keypoints,
            self.format,
            self.display_names,
            self.feature_tag,
            self.track_id,
            self.detection_id,
            self.timestamp_usec,
        )


def boxes_of(detections: Sequence[Detection]) -> Floats:
    """Their boxes, float32 [n, 4]: xmin, ymin, width, height."""
    # numpy looks long at what only derives from a tuple.
    flat = list(chain.from_iterable([each.box for each in detections]))
    return np.array(flat, np.float32).reshape(-1, 4)


def tensor_of(detections: Sequence[Detection]) -> Floats:
    """Float32 [n, 6 + 2k], a row each: xmin, ymin, width, height, the first score, the
    first label id (-1 where there is none), then x and y of the k key points. A row with
    fewer key points than the others ends in NaN.
    """
    most = max([len(each.keypoints) for each in detections], default=0)
    rows = np.full((len(detections), 6 + 2 * most), np.nan, np.float32)
    if not detections:
        return rows
    rows[:, :6] = [
        (
            *each.box,
            each.scores[0] if each.scores else 0,
            each.label_ids[0] if each.label_ids else -1,
        )
        for each in detections
    ]
    for row, each in zip(rows, detections, strict=True):
        row[6 : 6 + each.keypoints.size] = each.keypoints.ravel()
    return rows

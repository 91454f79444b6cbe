"""Landmarks of one thing are arrays that belong together (formats/landmark.proto)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Landmarks:
    """`points` is float32 [n, 3]: x, y, z. `visibility` and `presence` are float32 [n],
    or None where the model tells nothing of them. Nobody writes to the arrays.

    Raises ValueError for arrays that do not belong together.
    """

    points: Floats
    visibility: Floats | None = None
    presence: Floats | None = None

    def __init__(
        self,
        points: Floats,
        visibility: Floats | None = None,
        presence: Floats | None = None,
    ) -> None:
        # By hand, and so in three quarters of the time: a __post_init__ reads again what
        # was set, and there are some twenty lists in a frame.
        count = len(points)
        if points.shape != (count, 3):
            msg = f"landmarks have shape [n, 3], the array has {list(points.shape)}"
            raise ValueError(msg)
        if visibility is not None and visibility.shape != (count,):
            raise _other_number(count, "visibility", visibility)
        if presence is not None and presence.shape != (count,):
            raise _other_number(count, "presence", presence)
        keep = object.__setattr__
        keep(self, "points", points)
        keep(self, "visibility", visibility)
        keep(self, "presence", presence)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, chosen: slice | Sequence[int]) -> Self:
        """Some of them, with all that is known of them."""
        visibility, presence = self.visibility, self.presence
        return type(self)(
            self.points[chosen],
            None if visibility is None else visibility[chosen],
            None if presence is None else presence[chosen],
        )

    def take(self, places: NDArray[np.intp]) -> Self:
        """The same by an array, in half the time."""
        visibility, presence = self.visibility, self.presence
        return type(self)(
            self.points.take(places, axis=0),
            None if visibility is None else visibility.take(places),
            None if presence is None else presence.take(places),
        )

    def at(self, points: Floats) -> Self:
        """The same ones elsewhere; in a third of the time that `replace` takes."""
        return type(self)(points, self.visibility, self.presence)

    def seen(self, visibility: Floats | None) -> Self:
        """The same ones, and how visible they are."""
        return type(self)(self.points, visibility, self.presence)


@dataclass(frozen=True, slots=True, eq=False, init=False)
class NormalizedLandmarkList(Landmarks):
    """x and y are fractions of the image's width and height, z of its width."""

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, eq=False, init=False)
class LandmarkList(Landmarks):
    """In pixels, or in metres around the middle of a body."""

    __hash__ = object.__hash__


def _other_number(count: int, name: str, values: Floats) -> ValueError:
    return ValueError(f"{count} landmarks have {name} of shape {list(values.shape)}")


def tensor_of(landmarks: Landmarks) -> Floats:
    """Float32 [n, 5]: x, y, z, visibility, presence; 0 for what is not known."""
    rows = np.zeros((len(landmarks.points), 5), np.float32)
    _fill(rows, landmarks)
    return rows


def tensor_of_lists(lists: Sequence[Landmarks]) -> Floats:
    """Float32 [m, n, 5]. Raises ValueError for lists of different lengths."""
    lengths = sorted({len(each.points) for each in lists})
    if len(lengths) > 1:
        shown = ", ".join(map(str, lengths))
        msg = f"landmark lists of {shown} landmarks make no tensor"
        raise ValueError(msg)
    # Filled in place: np.stack takes as long as all of this.
    found = np.zeros((len(lists), *lengths, 5), np.float32)
    for rows, each in zip(found, lists, strict=True):
        _fill(rows, each)
    return found


def _fill(rows: Floats, landmarks: Landmarks) -> None:
    rows[:, :3] = landmarks.points
    if landmarks.visibility is not None:
        rows[:, 3] = landmarks.visibility
    if landmarks.presence is not None:
        rows[:, 4] = landmarks.presence

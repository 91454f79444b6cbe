"""Filters for points that move: all coordinates of all points at once, with what they
were. One filter is of one row of points; each `apply` has a later timestamp.

Numbers are computed as MediaPipe does, float32 where it has them, since what is left of
a difference stays in the filter (util/filtering).
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from ovms_mp_calculators.visibility_smoothing import low_pass

if TYPE_CHECKING:
    from ovms_mp.formats.landmark import Floats
    from ovms_mp_calculators.visibility_smoothing import Doubles

_SECONDS_OF_NS: Final = 1e-9
# The time between frames that VelocityFilter takes for the longest, in ns.
_FRAME: Final = 1_000_000_000 // 30


class PointFilter(Protocol):
    """Of one row of points."""

    def apply(self, at: int, points: Floats, scale: np.float32) -> Floats:
        """The points as they are to be shown at `at`, in nanoseconds; their velocity is
        judged after it was multiplied by `scale`. Shapes do not change. A time that is
        not later than the last one leaves the points, and is not remembered.
        """
        ...


class OneEuroFilter:
    """Smooth where points are slow, exact where they are fast (Casiez et al. 2012).

    Cutoffs are in Hz and above 0; `frequency` is that of the frames until two times are
    known.
    """

    def __init__(
        self, frequency: float, min_cutoff: float, beta: float, derivate_cutoff: float
    ) -> None:
        self._frequency = frequency
        # In radians per second, as they are computed with.
        self._min_cutoff = 2 * math.pi * min_cutoff
        self._beta = 2 * math.pi * beta
        self._derivate_cutoff = 2 * math.pi * derivate_cutoff
        self._at = -1
        self._raw: Doubles | None = None
        self._filtered = self._velocity = np.empty(0)

    def apply(self, at: int, points: Floats, scale: np.float32) -> Floats:
        """See PointFilter."""
        if at <= self._at:
            return points
        # As MediaPipe's: a time of 0 tells nothing of the frequency.
        if self._at != 0 and at != 0:
            self._frequency = 1.0 / ((at - self._at) * _SECONDS_OF_NS)
        self._at = at
        raw = points.astype(np.float64)
        if self._raw is None:
            self._raw = self._filtered = raw
            self._velocity = np.zeros_like(raw)
            return points
        change = raw - self._raw
        change *= float(scale) * self._frequency
        alpha = 1.0 / (1.0 + self._frequency / self._derivate_cutoff)
        velocity = low_pass(
            change.astype(np.float32), self._velocity, float(np.float32(alpha))
        )
        self._raw, self._velocity = raw, velocity.astype(np.float64)
        filtered = low_pass(points, self._filtered, self._alpha(self._velocity))
        self._filtered = filtered.astype(np.float64)
        return filtered

    def _alpha(self, velocity: Doubles) -> Floats:
        """How much of a new value counts: 1 / (1 + frequency / cutoff)."""
        each = np.abs(velocity)
        each *= self._beta
        each += self._min_cutoff
        np.divide(self._frequency, each, out=each)
        each += 1.0
        np.reciprocal(each, out=each)
        return each.astype(np.float32)


class VelocityFilter:
    """The faster a point was of late, the more counts where it is now."""

    def __init__(self, window_size: int, velocity_scale: float) -> None:
        self._longest = (1 + window_size) * _FRAME
        self._velocity_scale = np.float32(velocity_scale)
        self._window: deque[tuple[Floats, int]] = deque(maxlen=window_size)
        self._at = -1
        self._last: Floats | None = None
        self._last_scale = np.float32(1)
        self._filtered: Doubles | None = None

    def apply(self, at: int, points: Floats, scale: np.float32) -> Floats:
        """See PointFilter."""
        if at <= self._at:
            return points
        filtered = points
        if self._last is not None and self._filtered is not None:
            distance = points * scale - self._last * self._last_scale
            velocity = self._velocity(at, distance.astype(np.float32))
            one = np.float32(1)
            alpha = one - one / (one + self._velocity_scale * np.abs(velocity))
            filtered = low_pass(points, self._filtered, alpha)
        self._at, self._last, self._last_scale = at, points, scale
        self._filtered = filtered.astype(np.float64)
        return filtered

    def _velocity(self, at: int, distance: Floats) -> Floats:
        """Per second, over the time that the window spans."""
        duration = at - self._at
        way, time = distance, duration
        for former, took in self._window:
            if time + took > self._longest:
                break
            way, time = way + former, time + took
        self._window.appendleft((distance, duration))
        return (way / (time * _SECONDS_OF_NS)).astype(np.float32)

"""A request that comes goes on, waits, or gives way to another: the policy of its stream
decides. Nothing here waits or knows what a request is.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.stream_policy import Overflow

if TYPE_CHECKING:
    from ovms_mp.core.stream_policy import StreamPolicy

T = TypeVar("T")


class Admission(Generic[T]):
    """The queue before one stream's graph or model."""

    __slots__ = ("_limit", "_overflow", "_window", "is_patient", "waiting")

    def __init__(self, policy: StreamPolicy) -> None:
        self._overflow = policy.overflow
        self._window = policy.window_size
        self._limit = policy.queue_length
        self.waiting: deque[T] = deque()
        self.is_patient: Final = policy.overflow is Overflow.WAIT
        """True if who does not find room is kept waiting, by not being read."""

    def may_enter(self, in_flight: int) -> bool:
        """True if the window has room for one more."""
        return self._window is None or in_flight < self._window

    def overflow(self, in_flight: int) -> T | None:
        """Who has to give way, when there are more than window and queue hold."""
        if self._window is None or self._overflow is Overflow.WAIT or not self.waiting:
            return None
        if in_flight + len(self.waiting) <= self._window + self._limit:
            return None
        if self._overflow is Overflow.REJECT:
            return self.waiting.pop()
        return self.waiting.popleft()

    def has_room(self, *, may_enter: bool) -> bool:
        """True if the client may send one more."""
        if not self.is_patient:
            return True
        return len(self.waiting) < self._limit or (may_enter and not self.waiting)

    @property
    def refusal(self) -> ServingError:
        """What is told to who has to give way."""
        full = f"{self._window} in flight and {self._limit} waiting"
        if self._overflow is Overflow.REJECT:
            details = f"the stream has {full}; the request was rejected"
        else:
            details = f"the stream has {full}; the request gave way to a newer one"
        return ServingError(Status.RESOURCE_EXHAUSTED, details)

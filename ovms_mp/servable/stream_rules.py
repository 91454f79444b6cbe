"""What the requests of a stream have to keep to, on a graph and on a model alike. Rules
and texts are OVMS's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.timestamp import is_range_value
from ovms_mp.servable.parameters import timestamp_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.core.messages import InferRequest
    from ovms_mp.core.timestamp import Timestamp

FIRST: Final = "partial deserialization of first request"
SUBSEQUENT: Final = "partial deserialization of subsequent requests"
VALIDATE: Final = "validate subsequent requests"


class Clock:
    """Timestamps of one stream: the client's, or the next of 0, 1, 2, … (a client's
    re-bases it).
    """

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 0

    def timestamp(self, request: InferRequest) -> Timestamp:
        """When the packets of `request` are. Raises ServingError."""
        chosen = timestamp_of(request)
        if chosen is not None:
            return chosen
        if not is_range_value(self._next):
            details = "the automatic timestamp has reached the end of time"
            raise ServingError(Status.MEDIAPIPE_INVALID_TIMESTAMP, details)
        return self._next

    def used(self, timestamp: Timestamp) -> None:
        """The next request without a timestamp comes after this one."""
        self._next = timestamp + 1


def check_subsequent(request: InferRequest, name: str, versions: Sequence[str]) -> None:
    """Raises ServingError if a later request of a stream names another servable."""
    if request.model_name != name:
        status = Status.MEDIAPIPE_INCORRECT_SERVABLE_NAME
        raise ServingError(status, note=VALIDATE)
    if request.model_version not in versions:
        status = Status.MEDIAPIPE_INCORRECT_SERVABLE_VERSION
        raise ServingError(status, note=VALIDATE)

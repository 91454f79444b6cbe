"""What is in flight on a stream, and whether it goes on: the same for every way to wait.

Nothing here waits or locks, and the wire is bytes; who drives an exchange does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from ovms_mp_protos import kserve

from ovms_mp_clients.errors import (
    ClientError,
    ConnectionLost,
    RequestRefused,
    code_named,
)
from ovms_mp_clients.tensors import (
    TIMESTAMP,
    Parameter,
    Result,
    TensorLike,
    decode,
    encode,
    parsed,
)


class Exchange:
    """The requests and answers of one stream on the graph `name`, with at most `window`
    timestamps in flight. Raises ValueError for a window without room.
    """

    def __init__(self, name: str, window: int) -> None:
        if window < 1:
            raise ValueError(f"a window of {window} has no room for a request")
        self._name = name
        self._window = window
        self._next_timestamp = 0
        self._end: ClientError | None = None
        self.unanswered: tuple[int, ...] = ()
        """Timestamps that were sent and not answered, as they were sent."""
        self.has_answered = False
        self.is_half_closed = False
        self.is_cancelled = False

    def need_not_wait(self, timestamp: int | None = None) -> bool:
        """True if there is room in the window, or no sense in waiting for it.

        There is always room for more of a timestamp that is in flight.
        """
        has_room = len(self.unanswered) < self._window or timestamp in self.unanswered
        return has_room or self.is_half_closed or self._end is not None

    @property
    def lost(self) -> ConnectionLost | None:
        """The loss that ended the stream, if it was one."""
        return self._end if isinstance(self._end, ConnectionLost) else None

    def encode(
        self,
        inputs: Mapping[str, TensorLike],
        timestamp: int | None,
        parameters: Mapping[str, Parameter] | None,
    ) -> tuple[int, bytes]:
        """The message of the next request, and its timestamp: the given one, or one
        more than the last.
        """
        if timestamp is None:
            timestamp = self._next_timestamp
        # Said even where the server would count the same: its count stands still at a
        # request that it refuses. The id comes back with a refusal.
        everything = {**(parameters or {}), TIMESTAMP: timestamp}
        request = encode(
            self._name, inputs, parameters=everything, request_id=str(timestamp)
        )
        return timestamp, request.SerializeToString()

    def check(self) -> None:
        """Raise the ClientError that says why nothing can be sent, if that is so."""
        if self._end is not None:
            raise self._end
        if self.is_half_closed:
            raise ClientError("nothing can be sent after half_close()")

    def sent(self, timestamp: int) -> None:
        """A request is on its way; several of one timestamp count once."""
        self._next_timestamp = timestamp + 1
        if timestamp not in self.unanswered:
            self.unanswered += (timestamp,)

    def received(self, answer: Result | RequestRefused) -> None:
        """An answer makes room for its request and for earlier ones: a graph may drop
        some. A refusal makes room for its request only.

        Where the server does not tell which request is meant, it is the oldest.
        """
        flying, timestamp = self.unanswered, answer.timestamp
        if isinstance(answer, Result):
            self.has_answered = True
            if timestamp is None:
                # Servers that know no timestamps give the id back, or keep the order.
                timestamp = _number(answer.id)
        if timestamp is None:
            self.unanswered = flying[1:]
        elif isinstance(answer, Result):
            self.unanswered = tuple(each for each in flying if each > timestamp)
        else:
            self.unanswered = tuple(each for each in flying if each != timestamp)

    def cancelled(self) -> None:
        """Whoever drives this wants no more of it."""
        self.is_cancelled = True
        self.ended(ClientError("the stream was cancelled"))

    def ended(self, error: ClientError | None) -> None:
        """The stream has come to its end, a good one without `error`. The first counts."""
        if self._end is None:
            self._end = error or ClientError("the server has ended the stream")


def read(message: bytes) -> Result | RequestRefused:
    """What a message of the server says. Raises ClientError if it makes no sense."""
    response = parsed(kserve.ModelStreamInferResponse, message)
    about = response.infer_response
    if not response.error_message:
        return decode(about)
    code = code_named(about.parameters["error_code"].string_param)
    return RequestRefused(response.error_message, code, _number(about.id))


def _number(request_id: str) -> int | None:
    """The timestamp in an id that is one of `Exchange.encode`."""
    return int(request_id) if request_id.removeprefix("-").isdecimal() else None

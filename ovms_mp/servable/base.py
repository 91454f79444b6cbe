"""A servable is anything a client can name; a session is one client's use of it.

A frontend knows servables only by these protocols: one path for models and graphs, for
one request and for many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ovms_mp.core.errors import ServingError
from ovms_mp.core.messages import InferRequest, InferResponse, ServableMetadata
from ovms_mp.core.pending import Pending

if TYPE_CHECKING:
    from ovms_mp.servable.repeats import Repeat


class StreamSink(Protocol):
    """What a session tells its client, in order; called from any thread, one at a time,
    but for `error` and `room`, which may come in `feed` beside the others.

    No call blocks. After `finished` nothing follows that matters.
    """

    def response(self, response: InferResponse) -> None:
        """An answer."""
        ...

    def error(self, error: ServingError, request: InferRequest) -> None:
        """A request was refused; the stream lives on."""
        ...

    def room(self) -> None:
        """The session can take one more request; called once for each that it can."""
        ...

    def finished(self, error: ServingError | None) -> None:
        """The session is over: well (None), or for this reason."""
        ...


class StreamSession(Protocol):
    """One open stream on a servable. Methods return at once, from any thread, and do
    nothing after the session has said that it is `finished`.
    """

    def feed(self, request: InferRequest) -> None:
        """The next request. Only when `StreamSink.room` has allowed it."""
        ...

    def half_close(self) -> None:
        """No more requests: finish what is there, then `StreamSink.finished`."""
        ...

    def cancel(self) -> None:
        """The client is gone: drop everything; the sink is not called any more."""
        ...

    def hold(self) -> None:
        """The client reads too slowly: produce no more until `release`."""
        ...

    def release(self) -> None:
        """The client has caught up."""
        ...


class Servable(Protocol):
    """One model version or one graph, ready to use."""

    @property
    def name(self) -> str:
        """What clients call it."""
        ...

    def metadata(self) -> ServableMetadata:
        """What ModelMetadata tells."""
        ...

    def infer(self, request: InferRequest) -> Pending[InferResponse]:
        """A unary request. Raises ServingError when the request does not fit; later
        failures fail the result.
        """
        ...

    def repeat(self, request: InferRequest) -> Repeat | None:
        """For requests like this one, which was answered, but with other contents; None
        if there is no short way for them.
        """
        ...

    def open_stream(self, request: InferRequest, sink: StreamSink) -> StreamSession:
        """Open a session and feed it its first request. Raises ServingError when there
        can be no session (then the sink is not called).
        """
        ...

"""A catalog of servables that are told what to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.lifecycle import VersionState
from ovms_mp.core.messages import (
    InferRequest,
    InferResponse,
    OutputTensor,
    ServableMetadata,
)
from ovms_mp.core.pending import Pending
from ovms_mp.servable.base import StreamSession, StreamSink
from ovms_mp.servable.description import Description, Listed, State
from ovms_mp.servable.statistics import ModelStatistics
from ovms_mp.servable.status import ServableStatus, VersionStatus


def echo(request: InferRequest) -> InferResponse:
    """Each input with raw contents, as an output."""
    return InferResponse(
        model_name=request.model_name,
        model_version="1",
        id=request.id,
        parameters=request.parameters,
        outputs=tuple(
            OutputTensor(each.name, each.datatype, each.shape, each.raw)
            for each in request.inputs
            if each.raw is not None
        ),
    )


class EchoSession:
    """Answers each request at once, and has room again after each.

    An input called `bad` is refused, one called `fatal` ends the stream. What the
    frontend calls beside `feed` is noted in `calls`.
    """

    def __init__(self, sink: StreamSink) -> None:
        self.sink = sink
        self.calls: list[str] = []
        self.fed: list[InferRequest] = []

    def feed(self, request: InferRequest) -> None:
        self.fed.append(request)
        names = {each.name for each in request.inputs}
        if "fatal" in names:
            error = ServingError(Status.MEDIAPIPE_EXECUTION_ERROR, "INTERNAL: fatal")
            self.sink.finished(error)
            return
        if "bad" in names:
            error = ServingError(Status.INVALID_UNEXPECTED_INPUT, "bad is unexpected")
            self.sink.error(error, request)
        else:
            self.sink.response(echo(request))
        self.sink.room()

    def half_close(self) -> None:
        self.calls.append("half_close")
        self.sink.finished(None)

    def cancel(self) -> None:
        self.calls.append("cancel")

    def hold(self) -> None:
        self.calls.append("hold")

    def release(self) -> None:
        self.calls.append("release")


@dataclass
class FakeServable:
    """`answer` makes the result of a unary request, `open` the session of a stream."""

    metadata: ServableMetadata
    answer: Callable[[InferRequest], Pending[InferResponse]]
    session: Callable[[StreamSink], StreamSession] = EchoSession
    is_ready: bool = True


def servable(
    name: str,
    answer: Callable[[InferRequest], InferResponse] = echo,
    session: Callable[[StreamSink], StreamSession] = EchoSession,
) -> FakeServable:
    """One that answers at once."""

    def at_once(request: InferRequest) -> Pending[InferResponse]:
        pending = Pending[InferResponse]()
        pending.complete(answer(request))
        return pending

    return FakeServable(ServableMetadata(name, ("1",), (), ()), at_once, session)


@dataclass
class FakeCatalog:
    """Looks up by name, as the real one; versions are not judged."""

    servables: dict[str, FakeServable] = field(default_factory=dict)
    is_ready: bool = True
    sessions: list[StreamSession] = field(default_factory=list)

    def names(self) -> tuple[str, ...]:
        return tuple(self.servables)

    def is_servable_ready(
        self, name: str, version: str, interface: str | None = None
    ) -> bool:
        return self._find(name).is_ready

    def status(self) -> tuple[ServableStatus, ...]:
        available = VersionStatus(1, VersionState.AVAILABLE, "OK", "")
        return tuple(
            ServableStatus(name, "model", (available,)) for name in self.servables
        )

    def metadata(
        self, name: str, version: str, interface: str = "gRPC"
    ) -> ServableMetadata:
        return self._find(name).metadata

    def describe(self, name: str, version: str) -> Description:
        return Description(self._find(name).metadata, backend="fake")

    def statistics(
        self, name: str, version: str
    ) -> Mapping[tuple[str, str], ModelStatistics]:
        return {(each, "1"): ModelStatistics() for each in self.servables}

    def index(self) -> tuple[Listed, ...]:
        return tuple(Listed(name, "1", State.READY) for name in self.servables)

    def infer(self, request: InferRequest) -> Pending[InferResponse]:
        return self._find(request.model_name).answer(request)

    def repeat(self, request: InferRequest) -> None:
        """Each request is asked for by itself."""

    def open_stream(self, request: InferRequest, sink: StreamSink) -> StreamSession:
        session = self._find(request.model_name).session(sink)
        self.sessions.append(session)
        session.feed(request)
        return session

    def _find(self, name: str) -> FakeServable:
        try:
            return self.servables[name]
        except KeyError:
            raise ServingError(Status.MODEL_NAME_MISSING) from None

"""What gRPC asks of whoever knows the servables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ovms_mp.core.messages import InferRequest, InferResponse, ServableMetadata
from ovms_mp.core.pending import Pending
from ovms_mp.servable.base import StreamSession, StreamSink
from ovms_mp.servable.description import Description, Listed
from ovms_mp.servable.repeats import Repeat, Term
from ovms_mp.servable.statistics import ModelStatistics


class Catalog(Protocol):
    """All servables by name. Methods may be called from any thread and do not block;
    those that take a name raise ServingError where that names nothing.
    """

    @property
    def is_ready(self) -> bool:
        """True when the server as a whole can do what its configuration says."""
        ...

    def names(self) -> tuple[str, ...]:
        """What clients can ask for."""
        ...

    def is_servable_ready(
        self, name: str, version: str, interface: str | None = None
    ) -> bool:
        """True when requests to `name` will be taken. `interface` is whose client asks,
        None if the server asks itself.
        """
        ...

    def metadata(self, name: str, version: str) -> ServableMetadata:
        """What a servable takes and gives."""
        ...

    def describe(self, name: str, version: str) -> Description:
        """How a servable is set up."""
        ...

    def statistics(
        self, name: str, version: str
    ) -> Mapping[tuple[str, str], ModelStatistics]:
        """What a servable has done, or each version of it, or everything, by name and
        version.
        """
        ...

    def index(self) -> tuple[Listed, ...]:
        """Everything that is served, is about to be, or could not be."""
        ...

    def infer(self, request: InferRequest) -> Pending[InferResponse]:
        """Ask the servable that `request` names. See Servable.infer."""
        ...

    def repeat(self, request: InferRequest) -> tuple[Term, Repeat] | None:
        """What infers for requests that are like this one, which was answered, but for
        their contents, in a term; None if each is to be asked for by itself.
        """
        ...

    def open_stream(self, request: InferRequest, sink: StreamSink) -> StreamSession:
        """Open a session on the graph that `request` names. See Servable."""
        ...

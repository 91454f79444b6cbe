"""What REST asks of whoever knows the servables."""

from __future__ import annotations

from typing import Protocol

from ovms_mp.core.messages import InferRequest, InferResponse, ServableMetadata
from ovms_mp.core.pending import Pending
from ovms_mp.servable.base import StreamSession, StreamSink
from ovms_mp.servable.description import Description
from ovms_mp.servable.status import Report, ServableStatus


class Catalog(Protocol):
    """All servables by name. Methods may be called from any thread and do not block;
    those that take a name raise ServingError where that names nothing.
    """

    @property
    def is_ready(self) -> bool:
        """True when the server as a whole can do what its configuration says."""
        ...

    def is_servable_ready(
        self, name: str, version: str, interface: str | None = None
    ) -> bool:
        """True when requests to `name` will be taken."""
        ...

    def metadata(self, name: str, version: str, interface: str) -> ServableMetadata:
        """What a servable takes and gives."""
        ...

    def describe(self, name: str, version: str) -> Description:
        """How a servable is set up."""
        ...

    def status(self) -> tuple[ServableStatus, ...]:
        """What becomes of everything that is configured, or was."""
        ...

    def open_stream(self, request: InferRequest, sink: StreamSink) -> StreamSession:
        """Open a session on the servable that `request` names. See Servable."""
        ...

    def infer(self, request: InferRequest) -> Pending[InferResponse]:
        """Ask the servable that `request` names. See Servable.infer."""
        ...


class Reload(Protocol):
    """Makes what is served what is mounted now, in every process that serves."""

    def __call__(self) -> Report:
        """What came of it; blocks. Raises ServingError if there was no answer."""
        ...

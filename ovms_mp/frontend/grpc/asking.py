"""What another server tells of itself: the client's side of a few methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import grpc
from ovms_mp_protos import kserve

from ovms_mp.servable.description import Listed, State

if TYPE_CHECKING:
    from collections.abc import Sequence

Metadata: TypeAlias = "tuple[tuple[str, str], ...]"


class NoAnswer(Exception):
    """The server did not answer, or not to this question; the message says why."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a server lets its clients in: with TLS or without, and what they show. What is
    None is left to gRPC, or not shown. `roots`, `chain` and `private_key` are PEM.
    """

    is_secure: bool = False
    roots: bytes | None = None
    chain: bytes | None = None
    private_key: bytes | None = None
    api_key: str | None = None

    @property
    def metadata(self) -> Metadata:
        """What each call brings."""
        if self.api_key is None:
            return ()
        return (("authorization", f"Bearer {self.api_key}"),)

    def channel(
        self, address: str, options: Sequence[tuple[str, int]] = ()
    ) -> grpc.Channel:
        """A connection to be; whether the server is there shows with the first call."""
        if not self.is_secure:
            return grpc.insecure_channel(address, options=options)
        credentials = grpc.ssl_channel_credentials(
            self.roots, self.private_key, self.chain
        )
        return grpc.secure_channel(address, credentials, options=options)


OPEN: Final = Access()
"""A server that lets everybody in."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says: whether it is ready, and what becomes of its servables."""

    is_ready: bool
    servables: tuple[Listed, ...]


def ask(address: str, timeout: float, access: Access = OPEN) -> Answer:
    """Ask the server at `host:port`; `timeout` is in seconds, for each of two questions.
    Raises NoAnswer.
    """
    with access.channel(address) as channel:
        ready = kserve.ServerReadyResponse.FromString(
            call(channel, kserve.SERVER_READY, b"", timeout, access.metadata)
        )
        index = kserve.RepositoryIndexResponse.FromString(
            call(channel, kserve.REPOSITORY_INDEX, b"", timeout, access.metadata)
        )
    return Answer(
        ready.ready,
        tuple(
            Listed(each.name, each.version, State(each.state), each.reason)
            for each in index.models
        ),
    )


def call(
    channel: grpc.Channel,
    method: str,
    request: bytes,
    timeout: float,
    metadata: Metadata = (),
) -> bytes:
    """What the server answers within so many seconds. Raises NoAnswer."""
    asking = channel.unary_unary(
        method, request_serializer=bytes, response_deserializer=bytes
    )
    try:
        answer = asking(request, timeout=timeout, metadata=metadata)
    except grpc.RpcError as error:
        code, details = error.code(), error.details()
        raise NoAnswer(f"{code.name}: {details}") from error
    return answer

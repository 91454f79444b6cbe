"""What another server tells of itself: the client's side of a few methods."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from ovms_mp_protos import kserve

from ovms_mp.servable.description import Listed, State


class NoAnswer(Exception):
    """The server did not answer, or not to this question; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says: whether it is ready, and what becomes of its servables."""

    is_ready: bool
    servables: tuple[Listed, ...]


def ask(address: str, timeout: float) -> Answer:
    """Ask the server at `host:port`; `timeout` is in seconds, for each of two questions.
    Raises NoAnswer.
    """
    with grpc.insecure_channel(address) as channel:
        ready = kserve.ServerReadyResponse.FromString(
            call(channel, kserve.SERVER_READY, b"", timeout)
        )
        index = kserve.RepositoryIndexResponse.FromString(
            call(channel, kserve.REPOSITORY_INDEX, b"", timeout)
        )
    return Answer(
        ready.ready,
        tuple(
            Listed(each.name, each.version, State(each.state), each.reason)
            for each in index.models
        ),
    )


def call(channel: grpc.Channel, method: str, request: bytes, timeout: float) -> bytes:
    """What the server answers within so many seconds. Raises NoAnswer."""
    asking = channel.unary_unary(
        method, request_serializer=bytes, response_deserializer=bytes
    )
    try:
        answer = asking(request, timeout=timeout)
    except grpc.RpcError as error:
        code, details = error.code(), error.details()
        raise NoAnswer(f"{code.name}: {details}") from error
    return answer

"""Supervisor and worker speak in messages of JSON, each behind its length; nothing that
either side reads could run code there.

A message is a notice (`say`), a question (`ask`, with an `id`) or an answer (that `id`,
and a `result` or an `error`); what else it has belongs to its kind:

| | supervisor to worker | worker to supervisor |
| --- | --- | --- |
| say | `serve`: flags, number, ports; the first message | `state`: what it serves |
| | `fleet`: what all serve | `counted`: its last page of metrics |
| | `stop` | `returned`: a `file` that it uses no more |
| ask | `page`: its page of metrics | `page`: the page of all |
| | `reload`: what came of it | `reload`: what came of it in each |
| | `seen`: what a `viewer` of another worker is told, of a `graph` if it has a name | `seen`: the same, of each other worker |
| | `trace`: what it does for some `seconds` | `trace`: the same; null while somebody else asks |
| | `ping`: nothing | `weights`: a file to map, with what is in `path` |
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final, TypeAlias

Message: TypeAlias = dict[str, Any]

HEAD_BYTES: Final = 4

MAX_MESSAGE_BYTES: Final = 64 << 20
"""A page of metrics of 1,000 models takes some 10 MB."""


class ChannelError(Exception):
    """The other side does not speak this language."""


def pack(message: Message) -> bytes:
    """A message as it is sent."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return len(body).to_bytes(HEAD_BYTES, "big") + body


def length_of(head: bytes) -> int:
    """Bytes that follow these HEAD_BYTES. Raises ChannelError if they are too many."""
    length = int.from_bytes(head, "big")
    if length > MAX_MESSAGE_BYTES:
        raise ChannelError("the message is too long")
    return length


def unpack(body: bytes) -> Message:
    """The message. Raises ChannelError for what is none."""
    try:
        message: Any = json.loads(body)
        # A copy, which fails for what is no object.
        return dict(**message)
    except (TypeError, ValueError, RecursionError) as error:
        raise ChannelError("the message cannot be read") from error


def receive(link: socket.socket) -> Message | None:
    """The next message, None once the other side is gone. Raises ChannelError."""
    head = _exactly(link, HEAD_BYTES)
    body = head and _exactly(link, length_of(head))
    return unpack(body) if body else None


def _exactly(link: socket.socket, count: int) -> bytes | None:
    parts: list[bytes] = []
    while count:
        try:
            part = link.recv(min(count, 1 << 20))
        except OSError:
            part = b""
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)

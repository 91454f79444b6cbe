"""What goes over a stream for the web: what a body of REST has, and in front of it, in
four bytes, most significant first, how much of it is JSON.

A text message of a WebSocket is all JSON, so nothing stands in front of it there.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import orjson

from ovms_mp.core.messages import InferRequest
from ovms_mp.frontend.grpc.streaming import Wire
from ovms_mp.frontend.grpc.wire import MalformedMessage
from ovms_mp.frontend.http import request, response
from ovms_mp.frontend.http.errors import Problem, Refusal
from ovms_mp.frontend.http.request import INTERFACE, Wanted

if TYPE_CHECKING:
    from ovms_mp.core.messages import Buffer, InferResponse

_HEAD: Final = struct.Struct("!I")
HEAD_SIZE: Final = _HEAD.size
_END_OF_EVENT: Final = b"\n\n"


class WebWire(Wire):
    """The messages of one stream to the servable that its path names; answers are as its
    first request asks: in JSON, or behind it with `binary_data_output`.
    """

    def __init__(self, name: str, version: str, method: str, json_limit: int) -> None:
        super().__init__(INTERFACE, method)
        self._name = name
        self._version = version
        self._json_limit = json_limit
        self._wanted: Wanted | None = None

    def decode(self, message: bytes) -> InferRequest:
        """See Wire."""
        try:
            length, body = _opened(message)
            if length > self._json_limit:
                details = f"at most {self._json_limit} bytes of JSON"
                raise Refusal(Problem.TOO_LARGE, details)
            said, wanted = request.decode(self._name, self._version, body, length)
        except Refusal as error:
            raise MalformedMessage(error.text) from None
        if self._wanted is None:
            self._wanted = Wanted(None, wanted.binary)
        return said

    def response(self, answer: InferResponse) -> bytes:
        """See Wire."""
        encoded = response.encode(answer, self._wanted or Wanted(None, binary=False))
        return b"".join((_HEAD.pack(encoded.json_size), *encoded.parts))

    def error(self, text: str, code: str, name: str, identity: str) -> bytes:
        """See Wire: `{"error": ..., "error_code": ..., "model_name": ..., "id": ...}`."""
        return sealed(error_document(text, code, name, identity))


class EventWire(WebWire):
    """The same with each message as a server-sent event. There all is JSON."""

    def response(self, answer: InferResponse) -> bytes:
        """See Wire."""
        encoded = response.encode(answer, Wanted(None, binary=False))
        return b"".join((b"data: ", *encoded.parts, _END_OF_EVENT))

    def error(self, text: str, code: str, name: str, identity: str) -> bytes:
        """See Wire."""
        return error_event(error_document(text, code, name, identity))


def error_event(document: bytes) -> bytes:
    """The event that tells of an error."""
    return b"event: error\ndata: " + document + _END_OF_EVENT


def error_document(text: str, code: str, name: str = "", identity: str = "") -> bytes:
    """What a stream says instead of an answer, in JSON."""
    said = {"error": text, "error_code": code, "model_name": name, "id": identity}
    found = {key: _printable(value) for key, value in said.items() if value}
    return orjson.dumps(found)


def sealed(document: bytes) -> bytes:
    """JSON as a message."""
    return _HEAD.pack(len(document)) + document


def text_of(message: bytes) -> str | None:
    """A message that is all JSON, as text; None for one with contents."""
    if _HEAD.unpack_from(message)[0] != len(message) - HEAD_SIZE:
        return None
    return message[HEAD_SIZE:].decode()


def _opened(message: bytes) -> tuple[int, Buffer]:
    if len(message) < HEAD_SIZE:
        details = f"a message begins with {HEAD_SIZE} bytes for the length of its JSON"
        raise Refusal(Problem.INVALID_BODY, details)
    (length,) = _HEAD.unpack_from(message)
    body = memoryview(message)[HEAD_SIZE:]
    if length > len(body):
        details = f"its JSON has {length} bytes, and {len(body)} follow"
        raise Refusal(Problem.INVALID_BODY, details)
    return length, body


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()

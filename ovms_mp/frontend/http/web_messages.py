"""What goes over a stream for the web: what a body of REST has, and in front of it, in
four bytes, most significant first, how much of it is JSON.

A text message of a WebSocket is all JSON, so nothing stands in front of it there. What is
to be sent as text begins with a brace, which no length does: JSON has not 2 GB.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import orjson

from ovms_mp.core.messages import InferRequest
from ovms_mp.frontend.grpc.quota import UNLIMITED, Quota
from ovms_mp.frontend.grpc.streaming import Wire
from ovms_mp.frontend.grpc.wire import MalformedMessage
from ovms_mp.frontend.http import request, response
from ovms_mp.frontend.http.errors import Problem, Refusal
from ovms_mp.frontend.http.request import INTERFACE, Wanted

if TYPE_CHECKING:
    from ovms_mp.core.messages import Buffer, InferResponse
    from ovms_mp.frontend.http.inference import Limits

_HEAD: Final = struct.Struct("!I")
HEAD_SIZE: Final = _HEAD.size
_END_OF_EVENT: Final = b"\n\n"


class WebWire(Wire):
    """The messages of one stream to the servable that its path names; answers are as its
    first request asks: in JSON, or behind it with `binary_data_output`. Requests hold at
    most `quota` together.
    """

    def __init__(
        self,
        name: str,
        version: str,
        method: str,
        limits: Limits,
        quota: Quota = UNLIMITED,
    ) -> None:
        super().__init__(INTERFACE, method)
        self._quota = quota
        self._name = name
        self._version = version
        self._limits = limits
        self._wanted: Wanted | None = None

    def decode(self, message: bytes) -> InferRequest:
        """See Wire. Raises ServingError for more than the quota has, too."""
        try:
            length, body = _opened(self._quota.view(message))
            if length > self._limits.json:
                details = f"at most {self._limits.json} bytes of JSON"
                raise Refusal(Problem.TOO_LARGE, details)
            said, wanted = request.decode(
                self._name, self._version, body, length, self._quota
            )
        except Refusal as error:
            raise MalformedMessage(error.text) from None
        if self._wanted is None:
            self._wanted = Wanted(None, wanted.binary)
        return said

    def named(self, message: bytes) -> str:
        """See Wire."""
        return self._name

    def response(self, answer: InferResponse) -> bytes:
        """See Wire."""
        response.fitting(answer, self._limits.answer)
        wanted = self._wanted or Wanted(None, binary=False)
        json, *contents = response.encode(answer, wanted).parts
        if not wanted.binary:
            return bytes(json)
        return b"".join((_HEAD.pack(len(json)), json, *contents))

    def error(self, text: str, code: str, name: str, identity: str) -> bytes:
        """See Wire: `{"error": ..., "error_code": ..., "model_name": ..., "id": ...}`."""
        return error_document(text, code, name, identity)


class EventWire(WebWire):
    """The same with each message as a server-sent event. There all is JSON."""

    def response(self, answer: InferResponse) -> bytes:
        """See Wire."""
        response.fitting(answer, self._limits.answer)
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


def is_text(message: bytes) -> bool:
    """True for what is to be sent as text."""
    return message.startswith(b"{")


def _opened(message: memoryview) -> tuple[int, Buffer]:
    if len(message) < HEAD_SIZE:
        details = f"a message begins with {HEAD_SIZE} bytes for the length of its JSON"
        raise Refusal(Problem.INVALID_BODY, details)
    (length,) = _HEAD.unpack_from(message)
    body = message[HEAD_SIZE:]
    if length > len(body):
        details = f"its JSON has {length} bytes, and {len(body)} follow"
        raise Refusal(Problem.INVALID_BODY, details)
    return length, body


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()

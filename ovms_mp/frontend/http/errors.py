"""What an error looks like to a client of REST: `{"error": text}` under a code of HTTP.

Of an error that gRPC has too the code follows from gRPC's, so that both say the same; the
texts that only REST has are OVMS's. Where OVMS has no code for what happened it answers
500; here there is the one that fits.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
from starlette.responses import Response

from ovms_mp.core.errors import public_text
from ovms_mp.frontend.grpc.status import outcome_of as grpc_outcome_of
from ovms_mp.frontend.transport.seam import Abort, Code

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON: Final = "application/json"

CODES: Final[Mapping[Code, int]] = {
    Code.INVALID_ARGUMENT: 400,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.FAILED_PRECONDITION: 412,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.INTERNAL: 500,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
"""HTTP's code for each of gRPC's that the server has."""


class Problem(Enum):
    """What only a request over HTTP can have wrong: its code and the base text."""

    INVALID_URL = 400, "Invalid request URL"
    UNSUPPORTED_METHOD = 406, "Unsupported method"
    PATH_INVALID = 400, "The provided base path is invalid or doesn't exists"
    JSON_INVALID = 400, "The file is not valid json"  # OVMS: 412
    JSON_NESTING_DEPTH_EXCEEDED = (  # OVMS: 500
        400,
        "JSON nesting depth exceeds the allowed limit",
    )
    BODY_IS_NOT_AN_OBJECT = 400, "Request body should be JSON object"
    NO_INPUTS_FOUND = 400, "Invalid JSON structure, missing inputs"
    COULD_NOT_PARSE_INPUT = (
        400,
        "Could not parse input content. Not valid ndarray detected",
    )
    COULD_NOT_PARSE_OUTPUT = 400, "Could not parse output content."
    COULD_NOT_PARSE_PARAMETERS = 400, "Could not parse request parameters"
    UNSUPPORTED_PRECISION = (
        400,
        "Could not parse input content. Unsupported data precision detected",
    )
    BINARY_DATA_SIZE_INVALID = (
        400,
        "binary_data_size parameter is invalid and cannot be parsed",
    )
    BINARY_BUFFER_EXCEEDED = (
        400,
        "Received buffer size is smaller than binary_data_size parameter indicates",
    )
    BINARY_BUFFER_LEFT = 400, "Received buffer size is larger than the inputs take"
    HEADER_LENGTH_INVALID = (  # OVMS: 500, as the next two
        400,
        "Inference-Header-Content-Length header is invalid and couldn't be parsed",
    )
    HEADER_LENGTH_EXCEEDED = (
        400,
        "Inference-Header-Content-Length header exceeds actual payload length",
    )
    CONTENTS_FIELD_NOT_EMPTY = (
        400,
        "Request contains values both in binary data and in content value",
    )
    INVALID_MISSING_OUTPUT = 400, "Missing output with specific name"
    # What OVMS has no text for.
    INVALID_BODY = 400, "The body of the request cannot be read"
    ORIGIN_DENIED = 403, "Pages of this origin may not open streams"
    TOO_SLOW = 408, "The request came too slowly"
    TOO_LARGE = 413, "The request is too large"
    UNSUPPORTED_ENCODING = 415, "Unsupported content encoding"
    HEAD_TOO_LARGE = 431, "The head of the request is too large"
    BUSY = 503, "The server has too many requests"


class Refusal(Exception):
    """A request cannot be answered, for a reason that only REST has."""

    def __init__(self, problem: Problem, details: str = "") -> None:
        super().__init__(problem, details)
        self.problem: Final = problem
        self.details: Final = public_text(details)

    @property
    def text(self) -> str:
        """`<base> - <details>`."""
        base = self.problem.value[1]
        return f"{base} - {self.details}" if self.details else base


class Outcome(NamedTuple):
    """How a request fails for its client."""

    code: int
    text: str


def outcome_of(error: BaseException) -> Outcome:
    """What the client is told about `error`; see gRPC's of the same name."""
    if isinstance(error, Refusal):
        return Outcome(error.problem.value[0], error.text)
    if isinstance(error, Abort):
        return Outcome(CODES[error.code], error.details)
    code, text = grpc_outcome_of(error)
    return Outcome(CODES[code], text)


def error_response(code: int, text: str) -> Response:
    """The answer that says why there is none."""
    return Response(error_body(text), code, media_type=JSON)


def error_body(text: str) -> bytes:
    """`{"error": text}`, whatever characters the text has."""
    return orjson.dumps({"error": text.encode(errors="replace").decode()})

"""What an error looks like to a gRPC client is decided in one table.

Codes are OVMS's (its internal status to grpc::StatusCode); where OVMS has no entry and
answers UNKNOWN `Unknown error`, the code says what is the matter and the text why.
"""

from __future__ import annotations

import logging
import uuid
from typing import Final, NamedTuple

from ovms_mp.core.errors import ServingError, Status, one_line
from ovms_mp.core.pending import Cancelled
from ovms_mp.frontend.grpc.wire import MalformedMessage
from ovms_mp.frontend.transport.seam import Abort, Code, fitting

_log: Final = logging.getLogger(__name__)

_STATUSES: Final[dict[Code, tuple[Status, ...]]] = {
    Code.NOT_FOUND: (
        Status.MODEL_NAME_MISSING,
        Status.MODEL_VERSION_MISSING,
        Status.MEDIAPIPE_DEFINITION_NAME_MISSING,
        Status.MODEL_VERSION_NOT_LOADED_ANYMORE,
        Status.MEDIAPIPE_DEFINITION_NOT_LOADED_ANYMORE,
        Status.SEQUENCE_MISSING,
    ),
    Code.ALREADY_EXISTS: (Status.SEQUENCE_ALREADY_EXISTS,),
    Code.UNAVAILABLE: (
        Status.MODEL_VERSION_NOT_LOADED_YET,
        Status.MEDIAPIPE_DEFINITION_NOT_LOADED_YET,
        Status.SERVER_NOT_READY,  # OVMS: UNKNOWN
        Status.MEDIAPIPE_NODE_UNAVAILABLE,  # OVMS has no such nodes
        Status.MAX_SEQUENCE_NUMBER_REACHED,
    ),
    Code.INVALID_ARGUMENT: (
        Status.MODEL_VERSION_INVALID_FORMAT,
        Status.INVALID_NO_OF_INPUTS,
        Status.INVALID_MISSING_INPUT,
        Status.INVALID_UNEXPECTED_INPUT,
        Status.INVALID_NO_OF_SHAPE_DIMENSIONS,
        Status.INVALID_BATCH_SIZE,
        Status.INVALID_SHAPE,
        Status.INVALID_PRECISION,
        Status.INVALID_VALUE_COUNT,
        Status.INVALID_CONTENT_SIZE,
        Status.INVALID_MESSAGE_STRUCTURE,
        Status.INVALID_INPUT_FORMAT,
        Status.PATH_INVALID,
        Status.INVALID_STRING_INPUT,
        Status.INVALID_MISSING_OUTPUT,  # OVMS: UNKNOWN
        Status.UNSUPPORTED_LAYOUT,
        Status.INVALID_NO_OF_CHANNELS,
        Status.BYTES_CONTENTS_EMPTY,
        Status.BINARY_IMAGES_RESOLUTION_MISMATCH,
        Status.IMAGE_PARSING_FAILED,  # OVMS: UNKNOWN
        Status.INVALID_STRING_MAX_SIZE_EXCEEDED,  # OVMS: UNKNOWN
        Status.SEQUENCE_ID_NOT_PROVIDED,
        Status.INVALID_SEQUENCE_CONTROL_INPUT,
        Status.SEQUENCE_ID_BAD_TYPE,
        Status.MEDIAPIPE_EXECUTION_ERROR,
        Status.MEDIAPIPE_INVALID_TIMESTAMP,  # OVMS: UNKNOWN
        Status.MEDIAPIPE_UNINITIALIZED_STREAM_CLOSURE,  # OVMS: UNKNOWN
        Status.INVALID_STREAM_PARAMETER,  # ours
        # OVMS sends these two as a stream's error_message only.
        Status.MEDIAPIPE_INCORRECT_SERVABLE_NAME,
        Status.MEDIAPIPE_INCORRECT_SERVABLE_VERSION,
    ),
    Code.FAILED_PRECONDITION: (
        Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE,
        Status.RESHAPE_ERROR,
        Status.JSON_INVALID,
        Status.MEDIAPIPE_DESERIALIZATION_ERROR,
        Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR,
        Status.MEDIAPIPE_GRAPH_START_ERROR,
        Status.MEDIAPIPE_GRAPH_ADD_PACKET_INPUT_STREAM,
        Status.MEDIAPIPE_PRECONDITION_FAILED,  # OVMS: UNKNOWN
        Status.SEQUENCE_TERMINATED,
        # OVMS meets the rest when it loads, so that no client sees them.
        Status.INVALID_METRICS_FAMILY_NAME,
        Status.MEDIAPIPE_GRAPH_CONFIG_FILE_INVALID,
        Status.MEDIAPIPE_GRAPH_NAME_OCCUPIED,
        Status.MODEL_NAME_OCCUPIED,
        Status.INVALID_NON_STATEFUL_MODEL_PARAMETER,
        Status.MEDIAPIPE_WRONG_INPUT_STREAM_PACKET_NAME,
        Status.MEDIAPIPE_WRONG_OUTPUT_STREAM_PACKET_NAME,
        Status.MEDIAPIPE_WRONG_INPUT_SIDE_PACKET_STREAM_PACKET_NAME,
        Status.MEDIAPIPE_KFS_PASSTHROUGH_MISSING_OUTPUT_RESPONSE_TAG,
        Status.MEDIAPIPE_KFS_PASSTHROUGH_MISSING_INPUT_REQUEST_TAG,
        Status.MEDIAPIPE_KFS_PASS_WRONG_INPUT_STREAM_COUNT,
        Status.MEDIAPIPE_KFS_PASS_WRONG_OUTPUT_STREAM_COUNT,
        Status.PYTHON_NODE_NAME_ALREADY_EXISTS,
        Status.PYTHON_NODE_FILE_DOES_NOT_EXIST,
        Status.PYTHON_NODE_FILE_STATE_INITIALIZATION_FAILED,
        Status.PYTHON_NODE_MISSING_OPTIONS,
        Status.PYTHON_NODE_MISSING_NAME,
        Status.LAYOUT_WRONG_FORMAT,
        Status.FLOAT_WRONG_FORMAT,
        Status.COLOR_FORMAT_WRONG_FORMAT,
        Status.PRECISION_WRONG_FORMAT,
        Status.DIM_WRONG_FORMAT,
        Status.ANONYMOUS_FIXED_SHAPE_NOT_ALLOWED,
        Status.ANONYMOUS_FIXED_LAYOUT_NOT_ALLOWED,
        Status.CONFIG_SHAPE_IS_NOT_IN_MODEL,
        Status.CONFIG_LAYOUT_IS_NOT_IN_MODEL,
        Status.CONFIG_SHAPE_MAPPED_BUT_USED_REAL_NAME,
        Status.CONFIG_LAYOUT_MAPPED_BUT_USED_REAL_NAME,
        Status.LAYOUT_INCOMPATIBLE_WITH_SHAPE,
        Status.MODEL_WITH_SCALAR_AUTO_UNSUPPORTED,
    ),
    Code.INTERNAL: (
        Status.SHAPE_WRONG_FORMAT,
        Status.OV_INTERNAL_INFERENCE_ERROR,
        Status.OV_INTERNAL_SERIALIZATION_ERROR,
        Status.INTERNAL_ERROR,
        Status.MODEL_NOT_LOADED,
        Status.FILE_INVALID,
        Status.NO_MODEL_VERSION_AVAILABLE,
    ),
    Code.UNIMPLEMENTED: (Status.NOT_IMPLEMENTED,),  # OVMS: UNKNOWN
    Code.RESOURCE_EXHAUSTED: (Status.RESOURCE_EXHAUSTED,),
    Code.DEADLINE_EXCEEDED: (Status.DEADLINE_EXCEEDED,),
    Code.CANCELLED: (Status.CANCELLED,),
}

CODES: Final = {
    status: code for code, statuses in _STATUSES.items() for status in statuses
}
"""Every Status and its gRPC code."""


class Outcome(NamedTuple):
    """How a call, or a request of a stream, fails for its client."""

    code: Code
    text: str


def outcome_of(error: BaseException) -> Outcome:
    """What the client is told about `error`.

    Of an error that nobody foresaw it is told no more than an id, by which the log has
    the rest.
    """
    match error:
        case ServingError():
            return Outcome(CODES[error.status], fitting(one_line(error.text)))
        case MalformedMessage():
            return Outcome(Code.INVALID_ARGUMENT, str(error))
        case Cancelled():
            return Outcome(Code.CANCELLED, "The request was cancelled")
        case MemoryError():
            text = f"{Status.RESOURCE_EXHAUSTED.value} - not enough memory"
            return Outcome(Code.RESOURCE_EXHAUSTED, text)
        case _:
            incident = uuid.uuid4().hex[:12]
            _log.error("unforeseen error, incident %s", incident, exc_info=error)
            text = f"{Status.INTERNAL_ERROR.value} - incident {incident}"
            return Outcome(Code.INTERNAL, text)


def refusal(error: BaseException) -> Abort:
    """`error` as what ends a call."""
    code, text = outcome_of(error)
    return Abort(code, text)

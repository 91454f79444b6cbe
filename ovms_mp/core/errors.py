"""Errors say what happened in OVMS's words; how that looks on a wire is a frontend's.

`Status` lists OVMS's statuses with the base text that its clients see. The visible text
is the base text, followed by ` - ` and the details if there are any.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


class Status(Enum):
    """What went wrong, and OVMS's base text for it."""

    MODEL_NAME_MISSING = "Model with requested name is not found"
    MODEL_VERSION_MISSING = "Model with requested version is not found"
    MEDIAPIPE_DEFINITION_NAME_MISSING = (
        "Mediapipe graph definition with requested name is not found"
    )
    MODEL_VERSION_NOT_LOADED_ANYMORE = "Model with requested version is retired"
    MEDIAPIPE_DEFINITION_NOT_LOADED_ANYMORE = "Mediapipe is retired"
    MODEL_VERSION_NOT_LOADED_YET = "Model with requested version is not loaded yet"
    MEDIAPIPE_DEFINITION_NOT_LOADED_YET = "Mediapipe is not loaded yet"
    MODEL_VERSION_INVALID_FORMAT = "invalid model version format in request"
    SERVER_NOT_READY = "Server is not ready"

    INVALID_NO_OF_INPUTS = "Invalid number of inputs"
    INVALID_MISSING_INPUT = "Missing input with specific name"
    INVALID_UNEXPECTED_INPUT = "Unexpected input"
    INVALID_NO_OF_SHAPE_DIMENSIONS = "Invalid number of shape dimensions"
    INVALID_BATCH_SIZE = "Invalid input batch size"
    INVALID_SHAPE = "Invalid input shape"
    INVALID_PRECISION = "Invalid input precision"
    INVALID_VALUE_COUNT = "Invalid number of values in tensor proto container"
    INVALID_CONTENT_SIZE = "Invalid content size of tensor proto"
    INVALID_MESSAGE_STRUCTURE = (
        "Passing buffers both in ModelInferRequest::InferInputTensor::contents and in "
        "ModelInferRequest::raw_input_contents is not allowed"
    )
    INVALID_INPUT_FORMAT = "Inputs inside buffer does not match expected format."
    INVALID_STRING_INPUT = "Invalid string input"
    INVALID_MISSING_OUTPUT = "Missing output with specific name"
    UNSUPPORTED_LAYOUT = (
        "Received binary image input but resource not configured to accept NHWC layout"
    )
    INVALID_NO_OF_CHANNELS = "Invalid number of channels in binary input"
    BYTES_CONTENTS_EMPTY = "Bytes contents is empty"
    BINARY_IMAGES_RESOLUTION_MISMATCH = (
        "Binary input images for this endpoint are required to have the same resolution"
    )
    IMAGE_PARSING_FAILED = "Image parsing failed"
    INVALID_STRING_MAX_SIZE_EXCEEDED = (
        "Maximum 2D array after string conversion exceeded 1GB"
    )
    NOT_IMPLEMENTED = "Functionality not implemented"

    SEQUENCE_MISSING = "Sequence with provided ID does not exist"
    SEQUENCE_ALREADY_EXISTS = "Sequence with provided ID already exists"
    SEQUENCE_ID_NOT_PROVIDED = "Sequence ID has not been provided in request inputs"
    INVALID_SEQUENCE_CONTROL_INPUT = "Unexpected value of sequence control input"
    SEQUENCE_ID_BAD_TYPE = (
        "Could not find sequence id in expected tensor proto field uint64_val"
    )
    SEQUENCE_TERMINATED = (
        "Sequence last request is being processed and it's not available anymore"
    )
    MAX_SEQUENCE_NUMBER_REACHED = (
        "Max sequence number has been reached. Could not create new sequence."
    )
    INVALID_NON_STATEFUL_MODEL_PARAMETER = (
        "Stateful model config parameter used for non stateful model"
    )

    OV_INTERNAL_INFERENCE_ERROR = "Internal inference error"
    OV_INTERNAL_SERIALIZATION_ERROR = "Internal serialization error"
    INTERNAL_ERROR = "Internal server error"
    RESOURCE_EXHAUSTED = "Resource exhausted"
    DEADLINE_EXCEEDED = "Deadline exceeded"
    CANCELLED = "Cancelled"
    CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE = "Cannot compile model into target device"
    RESHAPE_ERROR = "Model could not be reshaped with requested shape"
    SHAPE_WRONG_FORMAT = "The provided shape is in wrong format"
    LAYOUT_WRONG_FORMAT = "The provided layout is in wrong format"
    FLOAT_WRONG_FORMAT = "The provided float is in wrong format"
    COLOR_FORMAT_WRONG_FORMAT = "The provided color format is in wrong format"
    PRECISION_WRONG_FORMAT = "The provided precision is in wrong format"
    DIM_WRONG_FORMAT = "The provided dimension is in wrong format"
    ANONYMOUS_FIXED_SHAPE_NOT_ALLOWED = (
        "Anonymous fixed shape is invalid for models with multiple inputs"
    )
    ANONYMOUS_FIXED_LAYOUT_NOT_ALLOWED = (
        "Anonymous fixed layout is invalid for models with multiple inputs"
    )
    CONFIG_SHAPE_IS_NOT_IN_MODEL = "Shape from config not found in model"
    CONFIG_LAYOUT_IS_NOT_IN_MODEL = "Layout from config not found in model"
    CONFIG_SHAPE_MAPPED_BUT_USED_REAL_NAME = (
        "Shape from config has real name. Use mapped name instead"
    )
    CONFIG_LAYOUT_MAPPED_BUT_USED_REAL_NAME = (
        "Layout from config has real name. Use mapped name instead"
    )
    LAYOUT_INCOMPATIBLE_WITH_SHAPE = "Layout incompatible with given shape"
    MODEL_WITH_SCALAR_AUTO_UNSUPPORTED = (
        "Batching set to AUTO but model contains scalar tensor"
    )
    MODEL_NOT_LOADED = "Error while loading a model"
    FILE_INVALID = "File not found or cannot open"
    PATH_INVALID = "The provided base path is invalid or doesn't exists"
    NO_MODEL_VERSION_AVAILABLE = (
        "Not a single model version directory has valid numeric name"
    )
    JSON_INVALID = "The file is not valid json"
    MODEL_NAME_OCCUPIED = "Given model name is already occupied"
    INVALID_METRICS_FAMILY_NAME = "Invalid name in metrics_list"

    MEDIAPIPE_DESERIALIZATION_ERROR = "Failed to deserialize tensor for mediapipe graph"
    MEDIAPIPE_GRAPH_INITIALIZATION_ERROR = "Failed to initialize mediapipe graph"
    MEDIAPIPE_GRAPH_START_ERROR = "Failed to start mediapipe graph"
    MEDIAPIPE_GRAPH_ADD_PACKET_INPUT_STREAM = (
        "Failed to add packet to mediapipe graph input stream"
    )
    MEDIAPIPE_NODE_UNAVAILABLE = "A node of the graph is not available"
    MEDIAPIPE_EXECUTION_ERROR = "Mediapipe execution failed. MP status"
    MEDIAPIPE_PRECONDITION_FAILED = "Mediapipe graph precondition failed"
    MEDIAPIPE_INVALID_TIMESTAMP = "Malformed packet timestamp"
    MEDIAPIPE_UNINITIALIZED_STREAM_CLOSURE = (
        "Client disconnected during reading first streaming request"
    )
    MEDIAPIPE_INCORRECT_SERVABLE_NAME = (
        "Subsequent request with incorrect servable name"
    )
    MEDIAPIPE_INCORRECT_SERVABLE_VERSION = (
        "Subsequent request with incorrect servable version"
    )
    INVALID_STREAM_PARAMETER = "Invalid stream parameter"
    MEDIAPIPE_GRAPH_CONFIG_FILE_INVALID = (
        "Failed to read protobuf graph configuration file"
    )
    MEDIAPIPE_GRAPH_NAME_OCCUPIED = "Given mediapipe graph name is already occupied"
    MEDIAPIPE_WRONG_INPUT_STREAM_PACKET_NAME = (
        "Mediapipe unexpected input stream packet name"
    )
    MEDIAPIPE_WRONG_OUTPUT_STREAM_PACKET_NAME = (
        "Mediapipe unexpected output stream packet name"
    )
    MEDIAPIPE_WRONG_INPUT_SIDE_PACKET_STREAM_PACKET_NAME = (
        "Mediapipe unexpected input side packet stream packet name"
    )
    MEDIAPIPE_KFS_PASSTHROUGH_MISSING_OUTPUT_RESPONSE_TAG = (
        "Mediapipe KFS pass through graph is missing RESPONSE output tag"
    )
    MEDIAPIPE_KFS_PASSTHROUGH_MISSING_INPUT_REQUEST_TAG = (
        "Mediapipe KFS pass through graph is missing REQUEST input tag"
    )
    MEDIAPIPE_KFS_PASS_WRONG_INPUT_STREAM_COUNT = (
        "Mediapipe KFS pass through graph unexpected number of input streams"
    )
    MEDIAPIPE_KFS_PASS_WRONG_OUTPUT_STREAM_COUNT = (
        "Mediapipe KFS pass through graph unexpected number of output streams"
    )

    PYTHON_NODE_NAME_ALREADY_EXISTS = (
        "The Python Node name is already present in nodes list"
    )
    PYTHON_NODE_FILE_DOES_NOT_EXIST = "The Python Node file path does not exist"
    PYTHON_NODE_FILE_STATE_INITIALIZATION_FAILED = (
        "The Python Node state initialization failed"
    )
    PYTHON_NODE_MISSING_OPTIONS = "The Python Node is missing options definition"
    PYTHON_NODE_MISSING_NAME = "The Python Node is missing name definition"


class ServingError(Exception):
    """A failure that a client or an operator is told about, in words meant for them."""

    def __init__(self, status: Status, details: str = "", *, note: str = "") -> None:
        super().__init__(status, details, note)
        self.status = status
        self.details = details
        self.note = note

    @property
    def text(self) -> str:
        """`<base> - <details>; <note>`, as OVMS prints it; the note says what became of
        a stream's request.
        """
        text = self.status.value
        if self.details:
            text = f"{text} - {self.details}"
        return f"{text}; {self.note}" if self.note else text

    def __str__(self) -> str:
        return self.text


# One line of a terminal or dashboard; OpenVINO's own messages run to pages.
MAX_PUBLIC_TEXT: Final = 512
_MAX_READ: Final = 16 * MAX_PUBLIC_TEXT
_PATH: Final = re.compile(
    r"(?:\bfile://|(?<![\w./:-]))/(?:[^\s/'\"<>:]+/)+(?=[^\s/'\"<>:]*)"
)
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f\s]+")


def one_line(text: str) -> str:
    """`text` with a blank for each character that a client may have named something with
    and a terminal or a log would obey: line breaks, other controls, lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else " " for each in text)


def public_text(message: str) -> str:
    """`message` fit for a client: one line of at most 512 characters, in which a path
    is reduced to its last component.
    """
    # What comes after is not read: an exception may repeat all that a client has sent,
    # and no thread of the server runs while a regular expression does.
    read = message[:_MAX_READ]
    line = _UNPRINTABLE.sub(" ", _PATH.sub("", read)).strip()
    if len(line) <= MAX_PUBLIC_TEXT and len(message) <= _MAX_READ:
        return line
    return line[: MAX_PUBLIC_TEXT - 1] + "…"

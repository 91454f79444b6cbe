"""One table from errors to gRPC codes, total, and texts that fit and tell no secrets."""

from __future__ import annotations

import logging

import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pending import Cancelled
from ovms_mp.frontend.grpc.status import CODES, outcome_of
from ovms_mp.frontend.grpc.wire import MalformedMessage
from ovms_mp.frontend.transport.seam import MAX_DETAILS_BYTES, Code


def test_every_status_has_one_code() -> None:
    assert set(CODES) == set(Status)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.MODEL_NAME_MISSING, Code.NOT_FOUND),
        (Status.MEDIAPIPE_DEFINITION_NOT_LOADED_ANYMORE, Code.NOT_FOUND),
        (Status.MODEL_VERSION_NOT_LOADED_YET, Code.UNAVAILABLE),
        (Status.INVALID_CONTENT_SIZE, Code.INVALID_ARGUMENT),
        (Status.MEDIAPIPE_EXECUTION_ERROR, Code.INVALID_ARGUMENT),
        (Status.MEDIAPIPE_GRAPH_START_ERROR, Code.FAILED_PRECONDITION),
        (Status.OV_INTERNAL_INFERENCE_ERROR, Code.INTERNAL),
        (Status.JSON_INVALID, Code.FAILED_PRECONDITION),
    ],
)
def test_codes_are_those_of_ovms(status: Status, code: Code) -> None:
    assert CODES[status] is code


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.SERVER_NOT_READY, Code.UNAVAILABLE),
        (Status.NOT_IMPLEMENTED, Code.UNIMPLEMENTED),
        (Status.MEDIAPIPE_PRECONDITION_FAILED, Code.FAILED_PRECONDITION),
        (Status.MEDIAPIPE_INVALID_TIMESTAMP, Code.INVALID_ARGUMENT),
        (Status.MEDIAPIPE_UNINITIALIZED_STREAM_CLOSURE, Code.INVALID_ARGUMENT),
    ],
)
def test_what_ovms_calls_unknown_has_a_code_and_its_text(
    status: Status, code: Code
) -> None:
    assert outcome_of(ServingError(status, "why")) == (code, f"{status.value} - why")


@pytest.mark.parametrize("letter", ["\n", "\0", "\x1b", "\u2028", "\x9b", "\u202e"])
def test_what_a_client_calls_something_does_not_break_the_line(letter: str) -> None:
    error = ServingError(Status.INVALID_UNEXPECTED_INPUT, f"a{letter}b is unexpected")
    assert outcome_of(error).text == "Unexpected input - a b is unexpected"


def test_no_error_is_unknown_to_clients() -> None:
    assert not {Code.OK, Code.UNKNOWN} & set(CODES.values())


def test_an_unforeseen_error_is_told_by_an_id_that_the_log_explains(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        raise KeyError("/secret/path")
    except KeyError as error:
        with caplog.at_level(logging.ERROR):
            code, text = outcome_of(error)
    assert code is Code.INTERNAL
    prefix, incident = text.rsplit(" ", 1)
    assert prefix == "Internal server error - incident"
    assert incident in caplog.text
    assert "/secret/path" in caplog.text
    assert "Traceback" in caplog.text


def test_two_unforeseen_errors_have_two_ids() -> None:
    assert outcome_of(KeyError()).text != outcome_of(KeyError()).text


@pytest.mark.parametrize("letter", ["a", "ä", "€", "😀"])
def test_a_text_that_no_header_carries_is_cut(letter: str) -> None:
    error = ServingError(Status.INVALID_UNEXPECTED_INPUT, letter * 10_000)
    text = outcome_of(error).text
    assert text.startswith(f"Unexpected input - {letter}{letter}")
    assert text.endswith(letter)
    assert len(text.encode()) <= MAX_DETAILS_BYTES


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MalformedMessage("Invalid message: why"), Code.INVALID_ARGUMENT),
        (Cancelled(), Code.CANCELLED),
        (MemoryError(), Code.RESOURCE_EXHAUSTED),
    ],
)
def test_errors_of_other_kinds_have_codes_too(error: Exception, code: Code) -> None:
    outcome = outcome_of(error)
    assert outcome.code is code
    assert outcome.text

"""An error says what a caller can do about it."""

from __future__ import annotations

import grpc
import pytest
from ovms_mp_clients import CallFailed, ClientError, ConnectionLost, TimedOut
from ovms_mp_clients.errors import from_status

LOST = ("UNAVAILABLE", "INTERNAL", "CANCELLED")


@pytest.mark.parametrize("code", [each for each in grpc.StatusCode if each.value[0]])
def test_a_status_is_a_loss_a_lack_of_time_or_a_failure(code):
    error = from_status(code, "why")
    late = code is grpc.StatusCode.DEADLINE_EXCEEDED
    lost = code.name in LOST
    assert type(error) is (ConnectionLost if lost else TimedOut if late else CallFailed)
    assert (str(error), error.code) == (f"{code.name}: why", code)


def test_what_came_too_late_is_pythons_timeout_as_well():
    with pytest.raises(TimeoutError):
        raise TimedOut("late")
    assert issubclass(TimedOut, ClientError)


def test_a_write_that_broke_with_its_connection_is_an_unavailable_server():
    error = from_status(grpc.StatusCode.INTERNAL, "Internal error from Core")
    assert type(error) is ConnectionLost
    assert error.code is grpc.StatusCode.UNAVAILABLE

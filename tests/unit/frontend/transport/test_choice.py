"""`core` serves if grpcio is what it needs, else `aio` does, and the log says why."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

import pytest

from ovms_mp.frontend.transport.aio import AioServer
from ovms_mp.frontend.transport.choice import transport
from ovms_mp.frontend.transport.core import CoreServer
from ovms_mp.frontend.transport.core_check import why_not


def test_the_grpcio_that_is_installed_is_as_core_needs_it() -> None:
    assert why_not() is None


def test_the_check_leaves_nothing_running() -> None:
    before = threading.active_count()
    for _ in range(5):
        assert why_not() is None
    assert threading.active_count() <= before


@pytest.mark.parametrize(("wanted", "kind"), [("core", CoreServer), ("aio", AioServer)])
def test_the_transport_that_is_wanted_serves_and_is_named_in_the_log(
    wanted: str, kind: type, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert transport(wanted) is kind
    assert [record.getMessage() for record in caplog.records] == [
        f"gRPC transport: {wanted}"
    ]


# Each of these is a grpcio that has changed; in a process of its own.
CHANGES = {
    "del cygrpc.SendStatusFromServerOperation": "SendStatusFromServerOperation is gone",
    "cygrpc.CompletionType.queue_shutdown = 2": "_InactiveRpcError",
    """
class Other(cygrpc.ReceiveMessageOperation):
    def message(self):
        return super().message() and b"other"
cygrpc.ReceiveMessageOperation = Other
""": "an answer is b'other'",
    """
class Deaf(cygrpc.ReceiveCloseOnServerOperation):
    def cancelled(self):
        return False
cygrpc.ReceiveCloseOnServerOperation = Deaf
""": "a cancellation is not heard of",
}

CHANGED = """
import logging
from grpc._cython import cygrpc
{change}
from ovms_mp.frontend.transport import core_check
core_check._SECONDS = 1.0
from ovms_mp.frontend.transport.choice import transport
logging.basicConfig(format="%(levelname)s %(message)s")
print(transport("core").__name__)
import os, sys
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize("change", CHANGES)
def test_where_grpcio_has_changed_aio_serves_and_the_log_says_why(change: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHANGED.format(change=change)],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert child.stdout == "AioServer\n"
    [warning] = [
        line for line in child.stderr.splitlines() if line.startswith("WARNING")
    ]
    assert "gRPC transport: aio, as core does not work: grpcio 1." in warning
    assert CHANGES[change] in warning

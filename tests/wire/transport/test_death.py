"""A transport whose thread has failed does not pretend to serve: its process ends."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import grpc
import pytest

from ovms_mp.frontend.transport.core import HAS_RESERVED
from ovms_mp.frontend.transport.vital import EXIT_CODE

# An exception from outside is the one failure that no code of ours can foresee.
SERVER = """
import ctypes, logging, sys, threading
from ovms_mp.frontend.transport.aio import AioServer
from ovms_mp.frontend.transport.core import CoreServer
from ovms_mp.frontend.transport.seam import unary

kind, victim = sys.argv[1:]
logging.basicConfig()
answer = lambda message, call: message
routes = {"/t/u": unary(answer), "/t/r": unary(answer, is_reserved=True)}
server = {"aio": AioServer, "core": CoreServer}[kind](routes, ["127.0.0.1:0"])
server.start()
print(server.ports[0], flush=True)
input()
[thread] = [each for each in threading.enumerate() if each.name == victim]
ctypes.pythonapi.PyThreadState_SetAsyncExc(
    ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
)
threading.Event().wait()
"""


def ask(target: str, name: str) -> bytes:
    """On a connection of its own."""
    alone = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(target, alone) as channel:
        return channel.unary_unary(f"/t/{name}")(b"1", timeout=5)


@pytest.mark.parametrize(
    ("kind", "victim"),
    [
        ("aio", "grpc-aio"),
        ("core", "grpc-poll-0"),
        *([("core", "grpc-poll-reserved")] if HAS_RESERVED else []),
    ],
)
def test_a_thread_that_fails_ends_the_process(kind: str, victim: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, kind, victim],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stderr is not None
        try:
            target = f"127.0.0.1:{int(server.stdout.readline())}"
            assert ask(target, "u") == ask(target, "r") == b"1"
            print(file=server.stdin, flush=True)
            # It fails when it has something to do, which not every connection gives it.
            while server.poll() is None:
                with suppress(grpc.RpcError):
                    ask(target, "u")
                    ask(target, "r")
        finally:
            server.kill()
        assert server.returncode == EXIT_CODE
        assert f"thread {victim} failed: the process ends" in server.stderr.read()

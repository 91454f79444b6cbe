"""A server under test and its clients; everything is gone when the test is."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc

from ovms_mp.core.pending import Pending
from ovms_mp.frontend.transport.seam import (
    Call,
    Server,
    Session,
    Stream,
    StreamCall,
    Unary,
    stream,
    unary,
)

S = TypeVar("S", bound=Session)

Rpc = Any

_libc = ctypes.CDLL(None)


def until(condition: Callable[[], object], seconds: float = 30.0) -> bool:
    """Whether `condition` becomes true in time. It is looked at once more at the end: who
    was not given the processor has not looked.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.002)
    return bool(condition())


def rest(value: Callable[[], int], seconds: float = 0.4) -> int:
    """What `value` has come to: unchanged for as long as that."""
    last, since = value(), time.monotonic()
    while time.monotonic() < since + seconds:
        time.sleep(0.01)
        if (now := value()) != last:
            last, since = now, time.monotonic()
    return last


def resident_bytes() -> int:
    """What the process has in memory, but for what it could give back."""
    _libc.malloc_trim(0)
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class World:
    """Servers of one kind, and clients of any."""

    def __init__(self, transport: Callable[..., Server]) -> None:
        self.transport = transport
        self.servers: list[Server] = []
        self.channels: list[grpc.Channel] = []
        self.children: list[subprocess.Popen[str]] = []

    def serve(
        self,
        routes: Mapping[str, Callable[..., Any] | Stream | Unary],
        addresses: Sequence[str] = ("127.0.0.1:0",),
        **options: Any,
    ) -> Server:
        """A started server: sessions' classes and `Made` are streams, the rest unary."""
        handlers = {
            f"/test.Service/{name}": stream(handler)
            if isinstance(handler, (type, Made))
            else handler
            if isinstance(handler, (Stream, Unary))
            else unary(handler)
            for name, handler in routes.items()
        }
        server = self.transport(handlers, addresses, **options)
        self.servers.append(server)
        server.start()
        return server

    def dial(self, target: str | None = None, credentials: Any = None) -> grpc.Channel:
        """A connection of its own to `target`, or to the last server."""
        target = target or f"127.0.0.1:{self.servers[-1].ports[0]}"
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ]
        channel = (
            grpc.secure_channel(target, credentials, options)
            if credentials
            else grpc.insecure_channel(target, options)
        )
        self.channels.append(channel)
        return channel

    def unary(self, name: str, target: str | None = None) -> Rpc:
        return unary_of(self.dial(target), name)

    def stream(self, name: str, target: str | None = None) -> Rpc:
        return stream_of(self.dial(target), name)

    def hang_up(self, channel: grpc.Channel) -> None:
        channel.close()
        self.channels.remove(channel)

    def stop(self, server: Server, grace: float = 0.0) -> bool:
        self.servers.remove(server)
        return server.stop(grace)

    def client(self, name: str, seconds: float | None) -> subprocess.Popen[str]:
        """Another process that calls `name` of the last server and waits."""
        target = f"127.0.0.1:{self.servers[-1].ports[0]}"
        child = subprocess.Popen(
            [sys.executable, "-c", CLIENT, target, name, str(seconds or "")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.children.append(child)
        return child

    def close(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()
        for channel in self.channels:
            channel.close()
        for server in self.servers:
            assert server.stop(0.2), "the server did not stop"


CLIENT = """
import sys, threading, grpc
target, name, seconds = sys.argv[1:]
def requests():
    yield b"1"
    threading.Event().wait()
call = grpc.insecure_channel(target).stream_stream("/test.Service/" + name)
answers = call(requests(), timeout=float(seconds) if seconds else None)
list(answers)
"""


def unary_of(channel: grpc.Channel, name: str) -> Rpc:
    return channel.unary_unary(f"/test.Service/{name}")


def stream_of(channel: grpc.Channel, name: str) -> Rpc:
    return channel.stream_stream(f"/test.Service/{name}")


def catch_up(channel: grpc.Channel) -> None:
    """Wait until there is a connection, and the server has taken up whatever was called
    on it before: it takes up the calls of one in their order. It has to serve `echo`.
    """
    assert unary_of(channel, "echo")(b"1", timeout=60) == b"1"


def refusal(rpc: Rpc, *arguments: Any, **options: Any) -> Any:
    """The error that a unary call, or a stream that is read to its end, ends with."""
    try:
        answer = rpc(*arguments, **options)
        if isinstance(answer, Iterator):
            list(answer)
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call succeeded")


class Made(Generic[S]):
    """A session factory that keeps what it makes."""

    def __init__(self, kind: Callable[[], S]) -> None:
        self._kind = kind
        self.sessions: list[S] = []

    def __call__(self) -> S:
        session = self._kind()
        self.sessions.append(session)
        return session

    @property
    def last(self) -> S:
        assert until(lambda: self.sessions), "no stream was opened"
        return self.sessions[-1]


class Echo(Session):
    """Answers every message with itself, one at a time."""

    def __init__(self) -> None:
        self.cancels = 0
        self.half_closes = 0

    def on_open(self, call: StreamCall) -> None:
        self.call = call
        call.request_next()

    def on_message(self, message: bytes) -> None:
        self.call.write(message, self.on_written)

    def on_written(self, is_sent: bool) -> None:
        self.call.request_next()

    def on_half_close(self) -> None:
        self.half_closes += 1
        self.call.finish(trailing_metadata=(("bye", "1"),))

    def on_cancel(self) -> None:
        self.cancels += 1


class Open(Echo):
    """Takes messages and never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []

    def on_message(self, message: bytes) -> None:
        self.messages.append(message)
        self.call.request_next()

    def on_half_close(self) -> None:
        self.half_closes += 1


def echo(message: bytes, call: Call) -> bytes:
    return message


class Later:
    """A unary handler whose answers come when the test says."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answers: list[Pending[bytes]] = []
        self.asked = self.cancels = 0

    def __call__(self, message: bytes, call: Call) -> Pending[bytes]:
        answer = Pending[bytes](self.on_cancel)
        self.asked += 1
        self.calls.append(call)
        self.answers.append(answer)
        return answer

    def on_cancel(self) -> None:
        self.cancels += 1


def numbers(count: int) -> Iterable[bytes]:
    return (b"%d" % number for number in range(count))

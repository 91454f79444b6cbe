"""What a service sees of the transport that carries it: bytes in, bytes out.

A unary method is `handler(message, call) -> bytes | Pending[bytes]`. A stream is a
Session, made by a factory. Both may raise Abort, which ends the call with its status;
whatever else they raise, SystemExit included, ends it with INTERNAL, says nothing of the
reason to the client, and is logged.

All callbacks of one call run one after another in a thread of the transport, so they
must be short. The methods of a call, and of a Pending that a handler returned, may be
used from any thread at any time, also after the end of the call, when they do nothing
and return False.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ovms_mp.core.pending import Pending

Metadata = tuple[tuple[str, str | bytes], ...]


class Code(enum.IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# Clients take 8 KiB of headers unless told otherwise, and lose the whole status if there
# is more. Half of that leaves room for trailing metadata.
MAX_DETAILS_BYTES: Final = 4096


def fitting(details: str) -> str:
    """`details`, cut to what fits a header: 4096 bytes as gRPC percent-encodes them."""
    text = details.encode(errors="replace")
    # Everything that is not printable ASCII, and '%', takes three bytes on the wire.
    if 3 * len(text) <= MAX_DETAILS_BYTES:
        return text.decode()
    room = MAX_DETAILS_BYTES
    for end, byte in enumerate(text):
        room -= 1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3
        if room < 0:
            return text[:end].decode(errors="ignore")
    return text.decode()


_KEY: Final = re.compile(r"[0-9a-z_.-]+")
_TEXT: Final = re.compile(r"[ -~]*")


def checked(metadata: Iterable[tuple[str, str | bytes]]) -> Metadata:
    """`metadata` as a tuple.

    Raises ValueError if gRPC would not send it. It must be found out here: the batch
    that holds it would be refused, and the status of the call with it.
    """
    pairs = tuple((key, value) for key, value in metadata)
    for key, value in pairs:
        if not _KEY.fullmatch(key) or key.startswith("grpc-"):
            raise ValueError(f"{key!r} cannot be a key of metadata")
        if key.endswith("-bin"):
            if not isinstance(value, bytes):
                raise ValueError(f"metadata {key!r} must have bytes, not {value!r}")
        elif not isinstance(value, str) or not _TEXT.fullmatch(value):
            raise ValueError(f"metadata {key!r} must be printable ASCII, not {value!r}")
    return pairs


@dataclass(frozen=True, slots=True)
class Ending:
    """The status of a call, with `details` cut to what fits.

    Raises ValueError for metadata that cannot be sent, and for an unknown code.
    """

    code: Code
    details: str = ""
    trailing_metadata: Metadata = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", Code(self.code))
        object.__setattr__(self, "details", fitting(self.details))
        object.__setattr__(self, "trailing_metadata", checked(self.trailing_metadata))


INTERNAL: Final = Ending(Code.INTERNAL, "internal error; the server's log has it")


class Abort(Exception):
    """Ends the call with this status, if raised by a handler or a session's callback,
    or if a Pending fails with it. What a stream has not sent by then is dropped.

    Raises ValueError for OK: that is what answers and `finish` are for.
    """

    def __init__(
        self, code: Code, details: str = "", trailing_metadata: Metadata = ()
    ) -> None:
        super().__init__(code, details)
        if code == Code.OK:
            raise ValueError("OK is no reason to abort")
        self.ending = Ending(code, details, trailing_metadata)

    @property
    def code(self) -> Code:
        """The status code."""
        return self.ending.code

    @property
    def details(self) -> str:
        """What the client reads beside the code."""
        return self.ending.details

    @property
    def trailing_metadata(self) -> Metadata:
        """What is sent with the status, after the call's own trailing metadata."""
        return self.ending.trailing_metadata


class SendQueueFull(Exception):
    """`write` was called with `send_limit` messages waiting: on_written makes room."""


OnWritten = Callable[[bool], object]


class Call(Protocol):
    """One call, as its handler sees it."""

    initial_metadata: Metadata
    """Goes to the client before the first message or the status; may be set until then.
    Setting what cannot be sent raises ValueError."""
    trailing_metadata: Metadata
    """Goes to the client with the status, whatever that is; may be set until then."""

    @property
    def method(self) -> str:
        """`/package.Service/Method`."""
        ...

    @property
    def peer(self) -> str:
        """The client's address as gRPC writes it, like `ipv4:127.0.0.1:4711`."""
        ...

    @property
    def invocation_metadata(self) -> Metadata:
        """What the client sent with the call."""
        ...

    @property
    def deadline(self) -> float | None:
        """When the client stops waiting, on the clock of time.monotonic()."""
        ...

    @property
    def time_remaining(self) -> float | None:
        """Seconds until the deadline, not below 0; None without one."""
        ...

    @property
    def is_cancelled(self) -> bool:
        """True once the client has gone or cancelled, the deadline has passed, or the
        server stopped the call.
        """
        ...


class StreamCall(Call, Protocol):
    """One stream, as its session sees it."""

    @property
    def send_limit(self) -> int:
        """How many messages may wait."""
        ...

    @property
    def queued(self) -> int:
        """Messages that were written and not sent yet, the one under way included."""
        ...

    @property
    def queued_bytes(self) -> int:
        """Bytes of these."""
        ...

    def write(self, message: bytes, on_written: OnWritten | None = None) -> bool:
        """Send `message` after those written before. Does not wait.

        False says that the stream has ended and nothing will come of it. Otherwise
        `on_written` is called once: with True when the message is on its way, which is
        when HTTP/2's flow control let it pass, with False when it will not be sent.

        Raises SendQueueFull, and TypeError for what is not bytes. A message larger than
        the server may send ends the stream with RESOURCE_EXHAUSTED.
        """
        ...

    def request_next(self) -> None:
        """Allow one more message to be read; a session without credit reads nothing."""
        ...

    def finish(
        self, code: Code = Code.OK, details: str = "", trailing_metadata: Metadata = ()
    ) -> bool:
        """Send this status after all that was written. False if the end is settled.

        Behind a message that the client does not read the status waits for the client,
        its deadline, its disconnection, or the end of the server.
        """
        ...


class Session(Protocol):
    """One stream's side of the conversation: its callbacks, all of which do nothing
    unless overridden.

    After `on_open` either the stream's own `finish` is carried out, or `on_cancel`
    comes, in every case: also when a callback of the session raised.
    """

    def on_open(self, call: StreamCall) -> None:
        """Before anything else."""

    def on_message(self, message: bytes) -> None:
        """Once for each message that `request_next` allowed."""

    def on_half_close(self) -> None:
        """The client has sent its last message. Needs a credit like a message."""

    def on_cancel(self) -> None:
        """The stream has ended, but not by `finish`; comes once, and nothing after it.

        It may come after `finish` was called, if the status was not sent any more.
        """


UnaryHandler = Callable[[bytes, Call], bytes | Pending[bytes]]
SessionFactory = Callable[[], Session]
Admission = Callable[[Call], object]
"""Lets a call pass, or raises Abort: asked once, before a message of the call is read, so
that who may not call cannot make the server take in what he sends."""


@dataclass(frozen=True, slots=True)
class Unary:
    """One message for one message.

    The end of the call cancels the Pending that the handler returned. `is_reserved`
    methods are answered whatever other handlers are doing, by transports that can.
    """

    handler: UnaryHandler
    is_reserved: bool = False
    admission: Admission | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """Any number of messages each way."""

    factory: SessionFactory
    admission: Admission | None = None


Handler = Unary | Stream


def unary(handler: UnaryHandler, *, is_reserved: bool = False) -> Unary:
    """A route of one message for one message."""
    return Unary(handler, is_reserved)


def stream(factory: SessionFactory) -> Stream:
    """A route of any number of messages each way; `factory` makes each call's session.

    The factory may raise what a callback may; there is no session then to be told.
    """
    return Stream(factory)


@dataclass(frozen=True, slots=True)
class Tls:
    """The server's key and certificate chain, PEM. With `client_roots`, clients must
    show a certificate that these have signed.

    `renewed` is asked at each handshake, in a thread of the transport, and tells what is
    new; None for nothing. Whether clients must show one does not change.
    """

    key: bytes
    certificate: bytes
    client_roots: bytes | None = None
    renewed: Callable[[], Tls | None] | None = None


class Server(Protocol):
    """A listening transport."""

    @property
    def ports(self) -> tuple[int, ...]:
        """The port of each address, in their order; 1 for a Unix socket."""
        ...

    @property
    def calls_in_flight(self) -> int:
        """Calls whose handler or session has not come to its end."""
        ...

    def start(self) -> None:
        """Answer calls."""
        ...

    def stop(self, grace: float = 0.0, patience: float = 10.0) -> bool:
        """Refuse new calls and those that nobody has taken up (UNAVAILABLE), let those in
        flight end within `grace` seconds, cancel the rest, and free the ports.

        False if a callback held the transport beyond `patience` more seconds; what it
        holds is then not freed. Calling again, even while it waits, waits for the same
        end. Not to be called from a callback.
        """
        ...


class ServerKind(Protocol):
    """What makes servers of one transport, which serve `routes`: handlers by their path,
    `/package.Service/Method`.
    """

    def __call__(
        self,
        routes: Mapping[str, Handler],
        addresses: Sequence[str],
        *,
        max_receive_bytes: int = ...,
        max_send_bytes: int | None = None,
        send_limit: int = ...,
        options: Sequence[tuple[str, str | int]] = (),
        tls: Tls | None = None,
    ) -> Server:
        """Listen on `addresses`, as gRPC writes them: `host:port`, `[v6]:port`,
        `unix:path`; port 0 is a free one. They are bound at once and answer from `start`
        on. Raises OSError naming the address that cannot be listened on; then none is.
        A Unix socket is gone when the server has stopped; one that a dead server left is
        replaced.

        `options` are gRPC's channel arguments and override what is set here, such as
        `grpc.so_reuseport`, which is off: a second server on a port would silently get
        half of the calls.
        """
        ...

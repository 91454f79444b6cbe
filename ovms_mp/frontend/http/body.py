"""The body of a request is taken in as it comes, and no further than it may go: not larger
than allowed, before and after it is inflated, not slower than a slow line, and not more of
all bodies together than the process has room for.
"""

from __future__ import annotations

import asyncio
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ovms_mp.frontend.http.errors import Problem, Refusal

if TYPE_CHECKING:
    from collections.abc import Generator

    from starlette.datastructures import Headers
    from starlette.types import Receive

    from ovms_mp.core.messages import Buffer

BODY_SECONDS: Final = 30.0
"""For a body to come, and a second more for each BYTES_PER_SECOND of it."""
BYTES_PER_SECOND: Final = 1 << 15
MAX_HELD_BYTES: Final = 2 << 30
"""Of all bodies that are being received or answered."""

_INFLATED_AT_A_TIME: Final = 1 << 20
# zlib's: a header of gzip or of zlib. `deflate` is the latter.
_WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_IDENTITY: Final = frozenset({"", "identity"})

LINGER_BYTES: Final = 64 << 20
LINGER_SECONDS: Final = 2.0


class Held:
    """How much of bodies is in memory. For one event loop."""

    def __init__(self, limit: int = MAX_HELD_BYTES) -> None:
        self._limit = limit
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """What is held now."""
        return self._bytes

    @contextmanager
    def share(self) -> Generator[Share]:
        """What one request takes of it, until the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            self._bytes -= share.bytes

    def take(self, count: int) -> None:
        """Raises Refusal if there is no more room."""
        if self._bytes + count > self._limit:
            raise Refusal(Problem.BUSY, "their bodies take too much memory")
        self._bytes += count


class Share:
    """One request's part of what is held."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self.bytes = 0

    def take(self, count: int) -> None:
        """So many bytes more. Raises Refusal."""
        self._held.take(count)
        self.bytes += count


async def read(
    receive: Receive,
    headers: Headers,
    share: Share,
    limit: int,
    seconds: float = BODY_SECONDS,
) -> Buffer:
    """The body, inflated if it was deflated; at most `limit` bytes either way, within so
    many `seconds` and more for each BYTES_PER_SECOND that came.

    Raises Refusal; ClientGone if the client leaves before its end.
    """
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    inflate = _inflater(headers, share, limit)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    received = bytearray()
    count = 0
    try:
        async with asyncio.timeout_at(begun + seconds) as patience:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGone
                chunk: bytes = message.get("body", b"")
                has_more: bool = message.get("more_body", False)
                count += len(chunk)
                if count > limit:
                    raise _too_large(limit)
                share.take(len(chunk))
                if inflate is not None:
                    await inflate.feed(chunk)
                elif not has_more and not received:
                    return chunk
                else:
                    received += chunk
                if not has_more:
                    break
                patience.reschedule(begun + seconds + count / BYTES_PER_SECOND)
    except TimeoutError:
        details = f"{count} bytes in {loop.time() - begun:.0f} s"
        raise Refusal(Problem.TOO_SLOW, details) from None
    if inflate is not None:
        received = inflate.inflated()
    return memoryview(received).toreadonly()


class ClientGone(Exception):
    """There is nobody to answer."""


async def linger(receive: Receive) -> None:
    """Let the client send on for a moment what nobody reads: one that is hung up on while
    it sends never reads why.
    """
    count = 0
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while count < LINGER_BYTES:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
                count += len(message.get("body", b""))
    except TimeoutError:
        return


def _inflater(headers: Headers, share: Share, limit: int) -> _Inflater | None:
    encoding = ", ".join(headers.getlist("content-encoding")).strip().lower()
    if encoding in _IDENTITY:
        return None
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        details = f"Expected: gzip or deflate; Actual: {encoding}"
        raise Refusal(Problem.UNSUPPORTED_ENCODING, details)
    return _Inflater(bits, share, limit)


class _Inflater:
    """Inflates piece by piece, and gives others a turn between two of them."""

    def __init__(self, bits: int, share: Share, limit: int) -> None:
        self._zlib = zlib.decompressobj(bits)
        self._share = share
        self._limit = limit
        self._inflated = bytearray()

    async def feed(self, data: bytes) -> None:
        """Raises Refusal if it is no such data, or too much."""
        while data and not self._zlib.eof:
            try:
                piece = self._zlib.decompress(data, _INFLATED_AT_A_TIME)
            except zlib.error:
                details = "it is not compressed as its content-encoding says"
                raise Refusal(Problem.INVALID_BODY, details) from None
            if len(self._inflated) + len(piece) > self._limit:
                raise _too_large(self._limit)
            self._share.take(len(piece))
            self._inflated += piece
            data = self._zlib.unconsumed_tail
            await asyncio.sleep(0)
        if data or self._zlib.unused_data:
            raise Refusal(Problem.INVALID_BODY, "something follows what is compressed")

    def inflated(self) -> bytearray:
        """All of it. Raises Refusal if that is not all."""
        if not self._zlib.eof:
            raise Refusal(Problem.INVALID_BODY, "what is compressed is cut short")
        return self._inflated


def _too_large(limit: int) -> Refusal:
    return Refusal(Problem.TOO_LARGE, f"at most {limit} bytes")

"""POST .../infer: what a gRPC client asks by ModelInfer.

What takes long is not done on the event loop: a thread beside it reads and writes large
JSON, one request at a time, for it keeps the interpreter to itself, and asks for what has
pictures to be decoded; inferences have threads of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from ovms_mp.core.messages import InferResponse
from ovms_mp.core.tensor import BYTES
from ovms_mp.frontend.http import body, compression, request, response
from ovms_mp.frontend.http.body import (
    BODY_SECONDS,
    MAX_HELD_BYTES,
    ClientGone,
    Held,
)
from ovms_mp.frontend.http.endpoint import servable_of
from ovms_mp.frontend.http.errors import JSON, Problem, Refusal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from ovms_mp.core.messages import Buffer
    from ovms_mp.core.pending import Pending
    from ovms_mp.frontend.http.body import Share
    from ovms_mp.frontend.http.catalog import Catalog
    from ovms_mp.frontend.http.response import Encoded

T = TypeVar("T")

FEW: Final = 1 << 14
"""Bytes that become JSON, or come from it, in less time than it takes to change threads."""

_OCTETS: Final = "application/octet-stream"
# A client that reads slowly is waited for between two of these.
_PIECE: Final = 1 << 18


class Limits(NamedTuple):
    """Of the body of a request: bytes of all of it, and of what in it is JSON; seconds
    for it to come; bytes of all bodies together; and of the outputs of an answer, 0 for
    any.
    """

    body: int = 1 << 30
    json: int = 1 << 26
    seconds: float = BODY_SECONDS
    held: int = MAX_HELD_BYTES
    answer: int = 0


class Inference:
    """The handler; for one event loop. `close` when that is over."""

    def __init__(self, catalog: Catalog, limits: Limits) -> None:
        self._catalog = catalog
        self.limits: Final = limits
        self._held = Held(limits.held)
        self._beside = ThreadPoolExecutor(1, "rest")

    def close(self) -> None:
        """End the thread."""
        self._beside.shutdown(wait=False, cancel_futures=True)

    async def infer(self, asked: Request) -> Response:
        """See servable.base.Servable.infer."""
        name, version = servable_of(asked)
        with self._held.share() as share:
            headers = asked.headers
            data, length = await self.read(asked, share)
            said, wanted = await self.do(
                length, lambda: request.decode(name, version, data, length)
            )
            size = sum(map(_heavy, said.inputs))
            pending = await self.do(size, lambda: self._catalog.infer(said))
            answer = await _settled(pending, asked)
            size = response.fitting(answer, self.limits.answer)
            if wanted.binary and wanted.outputs is None:
                size = 0
            encoded = await self.do(size, lambda: response.encode(answer, wanted))
            coding = compression.coding(headers.getlist("accept-encoding"), encoded)
            if coding is None:
                return _Parts(encoded)
            work = partial(compression.compressed, encoded, coding)
            return _Parts(await run_in_threadpool(work), coding)

    def share(self) -> AbstractContextManager[Share]:
        """Of what there is room for, for one request."""
        return self._held.share()

    async def read(self, asked: Request, share: Share) -> tuple[Buffer, int]:
        """A body, and how much of it is JSON. Raises Refusal, ClientGone."""
        limits, headers = self.limits, asked.headers
        data = await body.read(
            asked.receive, headers, share, limits.body, limits.seconds
        )
        length = request.header_length(headers.getlist(request.HEADER), data)
        if length > limits.json:
            details = f"at most {limits.json} bytes of JSON"
            raise Refusal(Problem.TOO_LARGE, details)
        return data, length

    async def do(self, size: int, work: Callable[[], T]) -> T:
        """`work` on so many bytes, here if they are few."""
        if size <= FEW:
            return work()
        loop = asyncio.get_running_loop()
        there = copy_context()  # who asks is known there, too
        return await loop.run_in_executor(self._beside, there.run, work)


def _heavy(tensor: request.InputTensor) -> int:
    """Bytes that are to be decoded by whoever is asked."""
    if tensor.datatype != BYTES:
        return 0
    if tensor.raw is not None:
        return response.size_of(tensor.raw)
    return sum(map(len, tensor.contents or ()))


async def _settled(pending: Pending[InferResponse], asked: Request) -> InferResponse:
    """The result. A client that leaves, and a server that stops, cancel it."""
    if pending.is_settled:
        return pending.value()
    loop = asyncio.get_running_loop()
    there = asyncio.Event()

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # the loop is over
            loop.call_soon_threadsafe(there.set)

    pending.on_settled(tell)
    waiting = asyncio.create_task(there.wait())
    leaving = asyncio.create_task(_gone(asked))
    try:
        await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not pending.is_settled:
            raise ClientGone
        return pending.value()
    finally:
        waiting.cancel()
        leaving.cancel()
        pending.cancel()


async def _gone(asked: Request) -> None:
    while (await asked.receive())["type"] != "http.disconnect":
        pass


class _Parts(Response):
    """A body of several parts, sent as they are."""

    def __init__(self, encoded: Encoded, coding: str = "") -> None:
        headers = {"content-length": str(encoded.size), "vary": "accept-encoding"}
        if coding:
            headers["content-encoding"] = coding
        if encoded.is_binary:
            headers[request.HEADER] = str(encoded.json_size)
        self._parts = encoded.parts
        super().__init__(
            None, headers=headers, media_type=_OCTETS if encoded.is_binary else JSON
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        headers = self.raw_headers
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        await send(start)
        for piece in _pieces(self._parts):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _pieces(parts: Sequence[Buffer]) -> list[Buffer]:
    if sum(map(response.size_of, parts)) <= _PIECE:
        return [b"".join(parts)]
    views = [memoryview(part).cast("B") for part in parts if len(part)]
    return [
        view[at : at + _PIECE] for view in views for at in range(0, len(view), _PIECE)
    ]

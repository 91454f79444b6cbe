"""A body is taken in within its limits, or refused as soon as that is known."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.datastructures import Headers

from ovms_mp.frontend.http import body
from ovms_mp.frontend.http.body import ClientGone, Held
from ovms_mp.frontend.http.errors import Problem, Refusal

MIB = 1 << 20
GZIPPED = gzip.compress(b"x" * 100, mtime=0)


class Client:
    """Sends chunks; then, if it `hangs`, nothing, and if it `leaves`, goodbye."""

    def __init__(self, *chunks: bytes, then: str = "ends") -> None:
        self._chunks = list(chunks)
        self._then = then
        self.count = 0

    async def __call__(self) -> dict[str, Any]:
        self.count += 1
        if not self._chunks:
            if self._then == "hangs":
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}
        chunk = self._chunks.pop(0)
        has_more = bool(self._chunks) or self._then != "ends"
        return {"type": "http.request", "body": chunk, "more_body": has_more}


def read(
    client: Client,
    headers: dict[str, str] | None = None,
    *,
    limit: int = MIB,
    seconds: float = 60,
    held: Held | None = None,
) -> bytes:
    with (held or Held()).share() as share:
        made = Headers(headers or {})
        return bytes(asyncio.run(body.read(client, made, share, limit, seconds)))


def refusal(*arguments: Any, **keywords: Any) -> Problem:
    with pytest.raises(Refusal) as caught:
        read(*arguments, **keywords)
    return caught.value.problem


@pytest.mark.parametrize("chunks", [[b""], [b"abc"], [b"a", b"", b"bc"]])
def test_a_body_is_its_chunks(chunks: Sequence[bytes]) -> None:
    assert read(Client(*chunks)) == b"".join(chunks)


def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    client = Client(b"x")
    assert refusal(client, {"content-length": str(MIB + 1)}) is Problem.TOO_LARGE
    assert client.count == 0


def test_a_body_that_does_not_say_so_is_read_no_further_than_the_limit() -> None:
    client = Client(*[b"x" * 1000] * 100)
    assert refusal(client, limit=2500) is Problem.TOO_LARGE
    assert client.count == 3


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    assert refusal(Client(b"x", then="hangs"), seconds=0.05) is Problem.TOO_SLOW


def test_a_client_that_leaves_is_not_answered() -> None:
    with pytest.raises(ClientGone):
        read(Client(b"x", then="leaves"))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "GZIP"])
@pytest.mark.parametrize("size", [0, 10, 3 * MIB])
def test_a_compressed_body_is_inflated(coding: str, size: int) -> None:
    data = bytes(range(256)) * (size // 256)
    made = (zlib.compress if coding == "deflate" else gzip.compress)(data)
    chunks = [made[:7], made[7:]]
    assert read(Client(*chunks), {"content-encoding": coding}, limit=4 * MIB) == data


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_inflated_no_further_than_the_limit(coding: str) -> None:
    data = bytes(64 * MIB)
    bomb = (zlib.compress if coding == "deflate" else gzip.compress)(data)
    assert len(bomb) < MIB
    held = Held()
    assert refusal(Client(bomb), {"content-encoding": coding}, held=held) is (
        Problem.TOO_LARGE
    )
    assert held.bytes == 0


@pytest.mark.parametrize(
    ("data", "coding", "problem"),
    [
        pytest.param(GZIPPED[:-1], "gzip", Problem.INVALID_BODY, id="cut"),
        pytest.param(GZIPPED + b"y", "gzip", Problem.INVALID_BODY, id="with more"),
        pytest.param(b"plain", "gzip", Problem.INVALID_BODY, id="plain"),
        pytest.param(GZIPPED, "deflate", Problem.INVALID_BODY, id="of another coding"),
        pytest.param(b"", "gzip", Problem.INVALID_BODY, id="empty"),
        pytest.param(b"x", "br", Problem.UNSUPPORTED_ENCODING, id="unknown"),
        pytest.param(b"x", "gzip, gzip", Problem.UNSUPPORTED_ENCODING, id="twice"),
    ],
)
def test_what_cannot_be_inflated_is_refused(
    data: bytes, coding: str, problem: Problem
) -> None:
    assert refusal(Client(data), {"content-encoding": coding}) is problem


def test_codings_in_two_lines_are_two_codings() -> None:
    name = b"content-encoding"
    headers = Headers(raw=[(name, b"gzip"), (name, b"deflate")])
    with pytest.raises(Refusal) as caught, Held().share() as share:
        asyncio.run(body.read(Client(GZIPPED), headers, share, MIB))
    assert caught.value.problem is Problem.UNSUPPORTED_ENCODING


def test_all_bodies_together_have_a_limit_and_give_their_share_back() -> None:
    held = Held(limit=1000)
    with held.share() as other:
        other.take(600)
        assert refusal(Client(b"x" * 500), held=held) is Problem.BUSY
        assert held.bytes == 600
        assert read(Client(b"x" * 400), held=held) == b"x" * 400
    assert held.bytes == 0
    assert read(Client(b"x" * 1000), held=held) == b"x" * 1000


def test_a_client_that_is_refused_may_send_on_for_a_moment() -> None:
    client = Client(*[b"x" * MIB] * 1000, then="hangs")
    asyncio.run(body.linger(client))
    assert 60 <= client.count <= 70
    asyncio.run(body.linger(Client(then="leaves")))

"""A stream that is lost is lost aloud, and the next one begins without its state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from ovms_mp_clients import (
    AsyncClient,
    Backoff,
    CallFailed,
    Client,
    ClientError,
    ConnectionLost,
    Keepalive,
)

from tests.unit.clients.support import (
    Wire,
    done,
    each,
    everything,
    following,
    opened,
)
from tests.wire import zoo
from tests.wire.servers import Process, Server
from tests.wire.waiting import until

BOTH = pytest.mark.parametrize("kind", [Client, AsyncClient])
SOON = Backoff(first=0.05, longest=0.5, give_up_after=50)

pytestmark = pytest.mark.asyncio


async def eventually(law: Callable[[], object]) -> None:
    """Let everybody work until something is so."""
    assert await asyncio.to_thread(until, law)


def number(value: float) -> dict[str, Any]:
    return {"in": np.full(1, value, np.float32)}


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server.address) as wire:
        yield wire


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The graph `words`, whose node waits when it is told to."""
    zoo.add_graph(tmp_path, "words", zoo.GRAPHS["words"], speaker=zoo.HANDLER)
    return zoo.write_config(tmp_path, graphs=[{"name": "words"}])


def word(text: str) -> dict[str, Any]:
    return {"word": np.frombuffer(text.encode(), np.uint8)}


@BOTH
async def test_a_server_that_dies_is_a_loss_at_both_ends_with_what_was_in_flight(
    config: Path, tmp_path: Path, kind: Any
):
    with Process(tmp_path, "--config_path", str(config)) as server:
        async with (
            opened(kind(server.ready())) as client,
            opened(client.stream("words", window=3)) as stream,
        ):
            await done(stream.send(word("hello")))
            assert bytes((await following(stream))["said"]) == b"HELLO"
            await done(stream.send(word(f"until {tmp_path / 'never'}")))
            await done(stream.send(word("late")))
            assert stream.lost is None
            server.process.kill()
            with pytest.raises(ConnectionLost) as caught:
                await following(stream)
            assert caught.value.code is grpc.StatusCode.UNAVAILABLE
            with pytest.raises(ConnectionLost):
                await done(stream.send(word("more")))
            assert stream.lost is not None
            assert stream.unanswered == (1, 2)


@BOTH
async def test_streams_go_on_with_the_server_that_comes_after_one_that_died(
    config: Path, tmp_path: Path, kind: Any
):
    flags = "--config_path", str(config)
    first, second = Process(tmp_path, *flags), None
    lost: list[ConnectionLost] = []
    said: list[tuple[int, bytes]] = []
    try:
        address = first.ready()
        async with opened(kind(address)) as client:
            async for stream in each(client.streams("words", backoff=SOON)):
                async with opened(stream):
                    try:
                        for text in ("one", "two"):
                            await done(stream.send(word(text)))
                            answer = await following(stream)
                            said.append((answer.timestamp, bytes(answer["said"])))
                            first.process.kill()
                        stream.half_close()
                        assert await everything(stream) == []
                    except ConnectionLost as loss:
                        lost.append(loss)
                        first.process.wait()
                        port = address.rpartition(":")[2]
                        second = Process(tmp_path, *flags, port=port)
    finally:
        for process in (first, second):
            if process is not None:
                process.process.kill()
                process.process.wait()
    assert len(lost) == 1
    assert said == [(0, b"ONE"), (0, b"ONE"), (1, b"TWO")]


@BOTH
async def test_a_new_stream_knows_nothing_of_the_one_that_was_lost(
    server: Server, wire: Wire, kind: Any
):
    losses = 0
    async with opened(kind(wire.address)) as client:
        async for stream in each(client.streams("sum", backoff=SOON)):
            async with opened(stream):
                try:
                    await done(stream.send(number(1), timestamp=100))
                    if not losses:
                        await eventually(lambda: server.open_graphs() == 1)
                        wire.cut()
                    assert await done(stream.send(number(2))) == 101
                    stream.half_close()
                    (answer,) = await everything(stream)
                    assert float(answer["out"][0]) == 3
                except ConnectionLost:
                    losses += 1
    assert losses == 1
    assert wire.connections == 2


@BOTH
async def test_a_loss_that_nobody_catches_ends_the_loop(wire: Wire, kind: Any):
    begun = 0

    async def lose_one() -> None:
        nonlocal begun
        async for stream in each(client.streams("echo", backoff=SOON)):
            begun += 1
            async with opened(stream):
                await done(stream.send(number(1)))
                await following(stream)
                wire.cut()
                await following(stream)

    async with opened(kind(wire.address)) as client:
        with pytest.raises(ConnectionLost):
            await lose_one()
    assert begun == 1


@BOTH
async def test_streams_end_with_the_first_that_is_not_lost(server: Server, kind: Any):
    begun = 0
    async with opened(kind(server.address)) as client:
        async for stream in each(client.streams("echo")):
            begun += 1
            async with opened(stream):
                await done(stream.send(number(1)))
                stream.half_close()
                assert len(await everything(stream)) == 1
    assert begun == 1


@BOTH
async def test_streams_wait_for_a_server_only_so_long_and_then_say_why(kind: Any):
    begin = time.monotonic()
    async with opened(kind("127.0.0.1:1")) as client:
        backoff = Backoff(first=0.05, longest=0.2, give_up_after=0.5)
        with pytest.raises(ConnectionLost, match="Connection refused"):
            await everything(client.streams("echo", backoff=backoff))
    assert 0.5 <= time.monotonic() - begin < 20


@BOTH
async def test_streams_on_what_is_not_there_fail_at_once(server: Server, kind: Any):
    async with opened(kind(server.address)) as client:
        with pytest.raises(CallFailed, match="is not found"):
            await everything(client.streams("nobody"))


@BOTH
async def test_streams_that_are_lost_before_they_answer_do_not_go_on_for_ever(
    server: Server, wire: Wire, kind: Any
):
    losses = 0

    async def lose_all() -> None:
        nonlocal losses
        backoff = Backoff(first=0.05, longest=0.1, give_up_after=1)
        async for stream in each(client.streams("sum", backoff=backoff)):
            async with opened(stream):
                await done(stream.send(number(1)))
                await eventually(lambda: server.open_graphs() == 1)
                wire.cut()
                try:
                    await following(stream)
                except ConnectionLost:
                    losses += 1
            await eventually(lambda: server.open_graphs() == 0)

    async with opened(kind(wire.address)) as client:
        with pytest.raises(ConnectionLost):
            await lose_all()
    assert losses > 1


@BOTH
async def test_a_client_that_is_closed_waits_for_no_server(wire: Wire, kind: Any):
    client = kind(wire.address)

    async def lose_and_close() -> None:
        async for stream in each(client.streams("echo", backoff=Backoff(first=50))):
            async with opened(stream):
                await done(stream.send(number(1)))
                await following(stream)
                wire.cut()
                with pytest.raises(ConnectionLost):
                    await following(stream)
            await done(client.close())

    with pytest.raises(ClientError, match="the client is closed"):
        await lose_and_close()


@BOTH
async def test_a_peer_that_vanishes_without_a_word_is_noticed(wire: Wire, kind: Any):
    async with (
        opened(kind(wire.address, keepalive=Keepalive(time=1, timeout=1))) as client,
        opened(client.stream("echo")) as stream,
    ):
        await done(stream.send(number(1)))
        await following(stream)
        wire.freeze()
        with pytest.raises(ConnectionLost):
            await following(stream)


@BOTH
async def test_each_client_has_a_connection_of_its_own(wire: Wire, kind: Any):
    async with (
        opened(kind(wire.address)) as one,
        opened(kind(wire.address)) as other,
        opened(one.stream("echo")) as lost,
    ):
        await done(lost.send(number(1)))
        await following(lost)
        async with opened(other.stream("echo")) as kept:
            await done(kept.send(number(1)))
            await following(kept)
            assert wire.connections == 2
            wire.cut(0)
            with pytest.raises(ConnectionLost):
                await following(lost)
            await done(kept.send(number(2)))
            assert (await following(kept)).timestamp == 1

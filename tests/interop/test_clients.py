"""Both clients of this project against a whole server: what one does, the other does."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from ovms_mp_clients import (
    AsyncClient,
    CallFailed,
    Client,
    ClientError,
    RequestRefused,
    TensorInfo,
    TimedOut,
)

from ovms_mp import __version__
from tests.unit.clients.support import done, everything, following, opened
from tests.wire.servers import Server

BOTH = pytest.mark.parametrize("kind", [Client, AsyncClient])
ONE_TO_TEN = np.arange(1, 11, dtype=np.float32).reshape(1, 10)
NOBODY = "127.0.0.1:1"

pytestmark = pytest.mark.asyncio


def word(text: str) -> dict[str, Any]:
    """What the graph `words` takes."""
    return {"word": np.frombuffer(text.encode(), np.uint8)}


@BOTH
async def test_the_server_tells_whether_it_is_ready_and_who_it_is(
    server: Server, kind: Any
):
    async with opened(kind(server.address)) as client:
        assert await done(client.is_live())
        assert await done(client.is_ready())
        assert await done(client.is_ready("echo"))
        assert await done(client.is_ready("add_one", "1"))
        who = await done(client.server_metadata())
        assert (who.name, who.version) == ("OpenVINO Model Server", __version__)
        with pytest.raises(CallFailed, match="Model with requested name is not found"):
            await done(client.is_ready("nobody"))


@BOTH
async def test_metadata_has_the_tensors_of_a_model_and_the_names_of_a_graphs_streams(
    server: Server, kind: Any
):
    async with opened(kind(server.address)) as client:
        model = await done(client.metadata("add_one"))
        assert model.inputs == (TensorInfo("x", "FP32", (1, 10)),)
        assert (model.name, model.versions) == ("add_one", ("1",))
        graph = await done(client.metadata("fan"))
        assert [each.name for each in graph.inputs] == ["in"]
        assert [each.name for each in graph.outputs] == ["same", "more"]


@BOTH
async def test_who_cannot_be_reached_is_not_live_and_not_ready(kind: Any):
    async with opened(kind(NOBODY)) as client:
        assert not await done(client.is_live())
        assert not await done(client.is_ready("echo"))


@BOTH
async def test_one_request_is_answered_by_a_model_and_by_a_graph(
    server: Server, kind: Any
):
    async with opened(kind(server.address)) as client:
        result = await done(client.infer("add_one", {"x": ONE_TO_TEN}, version="1"))
        np.testing.assert_array_equal(result["y"], ONE_TO_TEN + 1)
        result = await done(client.infer("fan", {"in": ONE_TO_TEN}))
        np.testing.assert_array_equal(result["same"], ONE_TO_TEN)
        np.testing.assert_array_equal(result["more"], ONE_TO_TEN + 1)


@BOTH
async def test_a_request_that_is_wrong_fails_with_the_servers_reason(
    server: Server, kind: Any
):
    async with opened(kind(server.address)) as client:
        with pytest.raises(
            CallFailed, match="Unexpected input - z is unexpec"
        ) as caught:
            await done(client.infer("echo", {"z": ONE_TO_TEN}))
        assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


@BOTH
async def test_an_answer_that_does_not_come_in_time_is_told_from_one_that_is_wrong(
    server: Server, kind: Any, tmp_path: Path
):
    gate = tmp_path / "gate"
    async with opened(kind(server.address)) as client:
        with pytest.raises(TimedOut):
            await done(client.infer("words", word(f"until {gate}"), timeout=0.2))
        gate.touch()


@BOTH
async def test_answers_of_a_stream_have_the_timestamps_of_their_requests(
    server: Server, kind: Any
):
    async with (
        opened(kind(server.address)) as client,
        opened(client.stream("echo", window=9)) as stream,
    ):
        sent = [
            await done(stream.send({"in": ONE_TO_TEN * number}, timestamp=timestamp))
            for number, timestamp in enumerate((None, None, 50, None))
        ]
        stream.half_close()
        answers = await everything(stream)
        assert sent == [each.timestamp for each in answers] == [0, 1, 50, 51]
        for number, answer in enumerate(answers):
            np.testing.assert_array_equal(answer["out"], ONE_TO_TEN * number)
        assert stream.unanswered == ()


@BOTH
async def test_parts_of_a_request_meet_at_their_timestamp(server: Server, kind: Any):
    async with (
        opened(kind(server.address)) as client,
        opened(client.stream("join", window=1)) as stream,
    ):
        parts = {"a": np.array([[1, 2]], np.int64), "b": ONE_TO_TEN[:, :3]}
        for name, part in parts.items():
            await done(stream.send({name: part}, timestamp=7))
        stream.half_close()
        answers = await everything(stream)
        assert {each.timestamp for each in answers} == {7}
        assert {name for each in answers for name in each.outputs} == {"sum", "double"}


@BOTH
async def test_parameters_of_the_first_request_are_side_packets(
    server: Server, kind: Any
):
    async with opened(kind(server.address)) as client:
        async with opened(client.stream("limited")) as stream:
            await done(stream.send({"in": ONE_TO_TEN}, parameters={"limit": 1}))
            stream.half_close()
            assert len(await everything(stream)) == 1
        async with opened(client.stream("limited")) as stream:
            await done(stream.send({"in": ONE_TO_TEN}))
            with pytest.raises(CallFailed):
                await following(stream)


@BOTH
async def test_a_refused_request_is_named_and_the_stream_goes_on(
    server: Server, kind: Any
):
    async with (
        opened(kind(server.address)) as client,
        opened(client.stream("echo")) as stream,
    ):
        for name in ("in", "stranger", "in"):
            await done(stream.send({name: ONE_TO_TEN}))
        assert (await following(stream)).timestamp == 0
        with pytest.raises(RequestRefused, match="stranger is unexpected") as caught:
            await following(stream)
        assert caught.value.timestamp == 1
        assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
        assert (await following(stream)).timestamp == 2
        stream.half_close()
        assert await following(stream) is None
        assert stream.lost is None


@BOTH
async def test_what_the_server_ends_a_stream_for_is_raised_at_both_ends(
    server: Server, kind: Any
):
    async with (
        opened(kind(server.address)) as client,
        opened(client.stream("words")) as stream,
    ):
        await done(stream.send(word("raise")))
        with pytest.raises(CallFailed, match="this word is not nice"):
            await following(stream)
        with pytest.raises(CallFailed, match="this word is not nice"):
            await done(stream.send(word("more")))
        assert stream.lost is None


@BOTH
async def test_a_sender_learns_of_the_end_though_nobody_reads(
    server: Server, kind: Any
):
    async with (
        opened(kind(server.address)) as client,
        opened(client.stream("words", window=1)) as stream,
    ):
        await done(stream.send(word("raise")))
        with pytest.raises(CallFailed, match="this word is not nice"):
            await done(stream.wait_for_room(20))


@BOTH
async def test_who_sends_waits_while_the_window_is_full(
    server: Server, kind: Any, tmp_path: Path
):
    gate = tmp_path / "gate"
    async with (
        opened(kind(server.address)) as client,
        opened(client.stream("words", window=3)) as stream,
    ):
        await done(stream.send(word(f"until {gate}")))
        for _ in range(2):
            assert await done(stream.wait_for_room(0))
            await done(stream.send(word("hello")))
        assert not await done(stream.wait_for_room(0.05))
        with pytest.raises(TimedOut, match="3 requests are in flight"):
            await done(stream.send(word("early"), timeout=0.05))
        assert stream.unanswered == (0, 1, 2)
        gate.touch()
        await following(stream)
        assert await done(stream.send(word("in time"), timeout=0)) == 3
        assert stream.in_flight == 3
        stream.half_close()
        assert [each.timestamp for each in await everything(stream)] == [1, 2, 3]


async def test_threads_at_both_ends_of_a_stream_never_exceed_its_window(server: Server):
    seen: list[int] = []
    with Client(server.address) as client, client.stream("echo", window=5) as stream:

        def send() -> None:
            for number in range(300):
                stream.send({"in": np.full(4, number)})
                seen.append(stream.in_flight)
            stream.half_close()

        sender = threading.Thread(target=send)
        sender.start()
        answers = [int(each["out"][0]) for each in stream]
        sender.join()
    assert answers == list(range(300))
    assert 1 < max(seen) <= 5


async def test_tasks_at_both_ends_of_a_stream_never_exceed_its_window(server: Server):
    seen: list[int] = []
    async with (
        AsyncClient(server.address) as client,
        client.stream("echo", window=5) as stream,
    ):

        async def send() -> None:
            for number in range(300):
                await stream.send({"in": np.full(4, number)})
                seen.append(stream.in_flight)
            stream.half_close()

        sender = asyncio.create_task(send())
        answers = [int(each["out"][0]) async for each in stream]
        await sender
    assert answers == list(range(300))
    assert 1 < max(seen) <= 5


@BOTH
async def test_a_stream_that_is_cancelled_stops_and_is_not_lost(
    server: Server, kind: Any
):
    async with (
        opened(kind(server.address)) as client,
        opened(client.stream("echo")) as stream,
    ):
        await done(stream.send({"in": ONE_TO_TEN}))
        stream.cancel()
        assert await everything(stream) == []
        with pytest.raises(ClientError, match="the stream was cancelled"):
            await done(stream.send({"in": ONE_TO_TEN}))
        assert stream.lost is None


@BOTH
async def test_nothing_is_sent_after_a_half_close(server: Server, kind: Any):
    async with (
        opened(kind(server.address)) as client,
        opened(client.stream("echo")) as stream,
    ):
        await done(stream.send({"in": ONE_TO_TEN}))
        stream.half_close()
        with pytest.raises(ClientError, match="after half_close"):
            await done(stream.send({"in": ONE_TO_TEN}))
        assert len(await everything(stream)) == 1


@BOTH
async def test_a_closed_client_says_so(server: Server, kind: Any):
    client = kind(server.address)
    await done(client.close())
    for ask in (client.is_ready, client.server_metadata):
        with pytest.raises(ClientError, match="the client is closed"):
            await done(ask())
    with pytest.raises(ClientError, match="the client is closed"):
        client.stream("echo")


async def test_a_task_that_is_cancelled_while_it_reads_ends_its_stream(server: Server):
    async with (
        AsyncClient(server.address) as client,
        client.stream("echo") as stream,
    ):
        await stream.send({"in": ONE_TO_TEN})
        await anext(stream)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(stream)
        assert stream.lost is None
        with pytest.raises(ClientError, match="the stream was cancelled"):
            await stream.send({"in": ONE_TO_TEN})


async def test_a_client_that_another_task_closes_has_lost_its_stream(server: Server):
    client = AsyncClient(server.address)
    stream = client.stream("echo")
    await stream.send({"in": ONE_TO_TEN})
    await anext(stream)
    closing = asyncio.create_task(client.close())
    with pytest.raises(ClientError, match="the client was closed"):
        await anext(stream)
    await closing

"""tritonclient's asyncio client against a whole server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import numpy as np
import pytest
import tritonclient.grpc.aio as triton

from tests.wire.servers import Server

pytestmark = pytest.mark.asyncio

TIMESTAMP = "OVMS_MP_TIMESTAMP"


def given(name: str, array: np.ndarray, datatype: str = "FP32") -> triton.InferInput:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def asking(graph: str, value: float, name: str = "in", **more: Any) -> dict[str, Any]:
    """What stream_infer takes for a request."""
    array = np.full((1, 10), value, np.float32)
    return {"model_name": graph, "inputs": [given(name, array)], **more}


async def requests(*those: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    for each in those:
        yield each


def timestamp(result: Any) -> int:
    return result.get_response().parameters[TIMESTAMP].int64_param


async def test_control_methods_answer(server: Server) -> None:
    async with triton.InferenceServerClient(server.address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("add_one", "1")
        metadata: Any = await client.get_model_metadata("fan")
        assert [each.name for each in metadata.outputs] == ["same", "more"]


async def test_many_unary_requests_at_once_get_each_their_own_answer(
    server: Server,
) -> None:
    async with triton.InferenceServerClient(server.address) as client:

        async def one(value: int) -> float:
            name, port, out = (("add_one", "x", "y"), ("add", "in", "out"))[value % 2]
            array = np.full((1, 10), value, np.float32)
            result: Any = await client.infer(name, [given(port, array)])
            return float(result.as_numpy(out)[0, 0])

        answers = await asyncio.gather(*map(one, range(60)))
    assert answers == list(range(1, 61))


async def test_a_stream_answers_in_order_and_ends_with_its_requests(
    server: Server,
) -> None:
    async with triton.InferenceServerClient(server.address) as client:
        asked = requests(*(asking("add", value) for value in range(20)))
        stream: Any = client.stream_infer(asked)
        answers = [pair async for pair in stream]
    assert [error for _, error in answers] == [None] * 20
    assert [timestamp(result) for result, _ in answers] == list(range(20))
    values = [result.as_numpy("out")[0, 0] for result, _ in answers]
    assert values == list(range(1, 21))


async def test_a_stream_takes_timestamps_and_gives_them_back(server: Server) -> None:
    at = [-7, 0, 2**40]
    async with triton.InferenceServerClient(server.address) as client:
        asked = requests(
            *(asking("echo", 1, parameters={TIMESTAMP: each}) for each in at)
        )
        stream: Any = client.stream_infer(asked)
        assert [timestamp(result) async for result, _ in stream] == at


async def test_a_stream_survives_a_request_that_does_not_fit(server: Server) -> None:
    async with triton.InferenceServerClient(server.address) as client:
        asked = requests(
            asking("echo", 1), asking("other", 2), asking("echo", 3, "odd")
        )
        stream: Any = client.stream_infer(asked)
        answers = [pair async for pair in stream]
    assert [error and error.message() for _, error in answers] == [
        None,
        "Subsequent request with incorrect servable name; validate subsequent requests",
        "Unexpected input - odd is unexpected; "
        "partial deserialization of subsequent requests",
    ]


async def test_what_ends_a_stream_is_told_while_its_client_is_silent(
    server: Server,
) -> None:
    done = asyncio.Event()

    async def one_and_silence() -> AsyncIterator[dict[str, Any]]:
        word = given("word", np.frombuffer(b"raise", np.uint8), "UINT8")
        yield {"model_name": "words", "inputs": [word]}
        await done.wait()

    async with triton.InferenceServerClient(server.address) as client:
        stream: Any = client.stream_infer(one_and_silence())
        # Not tritonclient's own error: what ends a stream passes it as it is.
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(anext(aiter(stream)), 20)
        done.set()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "this word is not nice" in (caught.value.details() or "")


async def test_a_stream_that_is_cancelled_leaves_the_client_usable(
    server: Server,
) -> None:
    goes_on = asyncio.Event()

    async def endless() -> AsyncIterator[dict[str, Any]]:
        yield asking("echo", 1)
        await goes_on.wait()

    async with triton.InferenceServerClient(server.address) as client:
        stream: Any = client.stream_infer(endless())
        result, _ = await anext(aiter(stream))
        assert timestamp(result) == 0
        stream.cancel()
        goes_on.set()
        array = np.zeros((1, 10), np.float32)
        again: Any = await client.infer("add", [given("in", array)])
        assert again.as_numpy("out")[0, 0] == 1

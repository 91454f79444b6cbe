"""tritonclient's asyncio client for HTTP against a whole server."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
import tritonclient.http.aio as triton
from tritonclient.utils import InferenceServerException

from tests.wire.servers import HOST, Server

pytestmark = pytest.mark.asyncio


def given(name: str, array: np.ndarray) -> triton.InferInput:
    tensor = triton.InferInput(name, list(array.shape), "FP32")
    tensor.set_data_from_numpy(array)
    return tensor


async def test_it_is_answered(server: Server) -> None:
    address = f"{HOST}:{server.app.rest_port}"
    async with triton.InferenceServerClient(address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("add_one")
        metadata: Any = await client.get_model_metadata("add_one")
        assert metadata["inputs"][0]["shape"] == [1, 10]
        with pytest.raises(InferenceServerException, match="is not found"):
            await client.infer("nobody", [given("x", np.zeros((1, 10), np.float32))])


async def test_many_requests_at_once_get_each_their_own_answer(server: Server) -> None:
    address = f"{HOST}:{server.app.rest_port}"
    async with triton.InferenceServerClient(address, conn_limit=16) as client:

        async def one(value: int) -> float:
            name, port, out = (("add_one", "x", "y"), ("add", "in", "out"))[value % 2]
            array = np.full((1, 10), value, np.float32)
            coding = (None, "gzip", "deflate")[value % 3]
            result: Any = await client.infer(
                name,
                [given(port, array)],
                request_compression_algorithm=coding,
                response_compression_algorithm=coding,
            )
            return float(result.as_numpy(out)[0, 0])

        answers = await asyncio.gather(*map(one, range(100)))
    assert answers == [value + 1 for value in range(100)]

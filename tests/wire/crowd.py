"""A process that opens many streams, gets an answer on each, says so, and stays.

    python crowd.py ADDRESS CHANNELS MODEL INPUT WIDTH COUNT [MODEL INPUT WIDTH COUNT …]

Prints `open` when every stream has had its first answer. A line on standard input ends
all streams well, after which it prints `closed`.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import cycle
from typing import Any

import grpc
import grpc.aio
import numpy as np
from ovms_mp_clients.tensors import encode
from ovms_mp_protos import kserve

OPTIONS = (("grpc.use_local_subchannel_pool", 1),)


async def first_answer(channel: grpc.aio.Channel, message: bytes) -> Any:
    """An open stream that has been answered once."""
    method: Any = channel.stream_stream(kserve.MODEL_STREAM_INFER)
    call = method()
    await call.write(message)
    answer = kserve.ModelStreamInferResponse.FromString(await call.read())
    assert not answer.error_message, answer.error_message
    return call


def say(word: str) -> None:
    """A line on standard output, now."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(address: str, channels: int, kinds: list[str]) -> None:
    opened = [grpc.aio.insecure_channel(address, OPTIONS) for _ in range(channels)]
    messages: list[bytes] = []
    for at in range(0, len(kinds), 4):
        model, name, width, count = kinds[at : at + 4]
        array = np.ones((1, int(width)), np.float32)
        message = encode(model, {name: array}).SerializeToString()
        messages += [message] * int(count)
    pairs = zip(cycle(opened), messages, strict=False)
    calls = await asyncio.gather(*(first_answer(*pair) for pair in pairs))
    say("open")
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.readline)
    for call in calls:
        await call.done_writing()
    assert [await call.read() for call in calls] == [grpc.aio.EOF] * len(calls)
    say("closed")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))

"""A process that opens many streams, gets answers on each, says so, and stays.

    python crowd.py ADDRESS CHANNELS ANSWERS MODEL INPUT WIDTH COUNT [MODEL INPUT …]

Prints `connected` before it opens streams, and `open` when every stream has had as many
answers as that. A line on standard input says how it goes: `close` ends all streams well,
`cancel` cancels them, and `hang up` closes the channels; then it prints `closed`.
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


async def answered(channel: grpc.aio.Channel, message: bytes, times: int) -> Any:
    """An open stream that has been answered so often."""
    method: Any = channel.stream_stream(kserve.MODEL_STREAM_INFER)
    call = method()
    for _ in range(times):
        await call.write(message)
        answer = kserve.ModelStreamInferResponse.FromString(await call.read())
        assert not answer.error_message, answer.error_message
    return call


async def close(calls: list[Any]) -> None:
    """End all streams well."""
    for call in calls:
        await call.done_writing()
    assert [await call.read() for call in calls] == [grpc.aio.EOF] * len(calls)


def say(word: str) -> None:
    """A line on standard output, now."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(address: str, channels: int, answers: int, kinds: list[str]) -> None:
    opened = [grpc.aio.insecure_channel(address, OPTIONS) for _ in range(channels)]
    messages: list[bytes] = []
    for at in range(0, len(kinds), 4):
        model, name, width, count = kinds[at : at + 4]
        array = np.ones((1, int(width)), np.float32)
        message = encode(model, {name: array}).SerializeToString()
        messages += [message] * int(count)
    for channel in opened:
        await channel.channel_ready()
    say("connected")
    pairs = zip(cycle(opened), messages, strict=False)
    calls = await asyncio.gather(*(answered(*pair, answers) for pair in pairs))
    say("open")
    loop = asyncio.get_running_loop()
    match (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        case "close":
            await close(calls)
        case "cancel":
            for call in calls:
                call.cancel()
        case _:
            for channel in opened:
                await channel.close()
    say("closed")
    await loop.run_in_executor(None, sys.stdin.readline)


if __name__ == "__main__":
    _, where, connections, times, *wanted = sys.argv
    asyncio.run(main(where, int(connections), int(times), wanted))

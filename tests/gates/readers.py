"""R8: a client that does not read, or hardly writes, costs a bounded memory and nobody
else's time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import grpc
from ovms_mp_protos import kserve

from tests.gates.gate import Figure, Run, percentile
from tests.gates.subject import Subject, build
from tests.wire.calls import Stream, ask, connect, floats, infer
from tests.wire.deaf import FRAME, Deaf
from tests.wire.transport.rude import Rude, call, message

STALLS_FOR: Final = 10.0
ROUND_TRIPS: Final = 400
HELD_MIB: Final = 8 + FRAME.nbytes / (1 << 20)
"""Of a stream: 8 MiB and a message. It is 3 MiB that gRPC reads ahead, 3 MiB of answers and
the one that goes beyond, one that is being written, and what it takes to keep these."""

SLOWER: Final = 1.2
CLIENTS_OF_A_CHANNEL: Final = 20


def bounded(run: Run) -> list[Figure]:
    """Streams of frames whose clients read nothing for ten seconds, and a client that
    writes a byte in a second, hold a bounded memory each; a stream beside them is as fast
    as without.
    """
    with Subject(run.folder, "--config_path", str(build(run.folder))) as subject:
        address = subject.ready()
        with connect(address) as channel:
            assert infer(channel, ask("image", {"in": FRAME}))
            round_trips(channel)
        alone = round_trips_for(address, STALLS_FOR / 2)
        before = subject.state()
        with ExitStack() as stack:
            channels = [
                stack.enter_context(connect(address))
                for _ in range(-(-run.size // CLIENTS_OF_A_CHANNEL))
            ]
            deaf = [Deaf(channels[n % len(channels)], 600) for n in range(run.size)]
            stalled = sum(each.is_stuck(0.1) for each in deaf)
            stack.enter_context(dribbling(address))
            beside = round_trips_for(address, STALLS_FOR)
            held = (subject.memory() - before.memory) / run.size / (1 << 20)
        left = subject.left(before)
        # As many as beside them, half before and half after: of a few hundred the p99 is
        # the fourth one, and anything.
        alone += round_trips_for(address, STALLS_FOR / 2)
        return [
            Figure("clients that do not read", stalled, at_least=run.size),
            Figure("memory for each", held, "MiB", at_most=HELD_MIB),
            Figure(
                "p99 of a stream beside them, by that without",
                percentile(beside, 99) / percentile(alone, 99),
                at_most=SLOWER,
                is_time=True,
            ),
            *left,
        ]


@contextmanager
def dribbling(address: str) -> Iterator[None]:
    """A call that comes a byte at a time, as long as the `with` block lasts."""
    request = ask("echo", {"in": floats(1)}).SerializeToString()
    frames = call(1, message(request), p_path=kserve.MODEL_INFER)
    whole = b"".join(each.serialize() for each in frames)
    is_over = threading.Event()

    def dribble() -> None:
        with Rude(int(address.rpartition(":")[2])) as rude:
            rude.hello()
            for each in whole:
                rude.send(bytes([each]))
                if is_over.wait(1):
                    return

    writer = threading.Thread(target=dribble)
    writer.start()
    try:
        yield
    finally:
        is_over.set()
        writer.join()


def round_trips_for(address: str, seconds: float) -> list[float]:
    """Of streams of a connection, one after the other, for so long."""
    until = time.monotonic() + seconds
    taken: list[float] = []
    with connect(address) as channel:
        while time.monotonic() < until:
            taken += round_trips(channel)
    return taken


def round_trips(channel: grpc.Channel) -> list[float]:
    """Seconds from each request of a stream to its answer."""
    taken: list[float] = []
    with Stream(channel) as stream:
        for number in range(ROUND_TRIPS):
            begun = time.perf_counter()
            stream.send(ask("echo", {"in": floats(number)}))
            stream.answer()
            taken.append(time.perf_counter() - begun)
        stream.half_close()
        assert stream.end() == ("OK", "")
    return taken

"""R13: memory does not grow with the number of requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final

import grpc
import numpy as np
from ovms_mp_protos import kserve

from tests.gates.gate import Figure, Run
from tests.gates.kinds import STATELESS, STREAMED, Kind
from tests.gates.subject import Subject, build
from tests.wire.calls import Stream, connect, infer

CALLERS: Final = 4
LOOKS: Final = 12
"""How often memory is looked at; of the last two thirds the slope counts."""

STREAMS: Final = 10
CANCELS: Final = 4
"""A stream for so many calls, and a call that is cancelled."""

MIB_IN_TEN_THOUSAND: Final = 1.0
NOISE_MIB: Final = 2.0
"""What a server of the same size may be seen to have more or less."""


def steady(run: Run, *more: Kind, **graphs: tuple[str, dict[str, str]]) -> list[Figure]:
    """After thousands of calls, streams and cancelled calls of every kind the server is as
    large as before: it grows by a megabyte at most for ten thousand calls.
    """
    config = build(run.folder, **graphs)
    kinds = (*STATELESS, *more)
    sizes: list[int] = []
    with Subject(run.folder, "--config_path", str(config)) as subject:
        address = subject.ready()
        with ExitStack() as stack:
            channels = [stack.enter_context(connect(address)) for _ in range(CALLERS)]
            pool = stack.enter_context(ThreadPoolExecutor(CALLERS))
            each = run.size // LOOKS // CALLERS
            _work(pool, channels, kinds, each)  # the first time is another matter
            before = subject.state()
            for _ in range(LOOKS):
                _work(pool, channels, kinds, each)
                sizes.append(subject.memory())
        last = sizes[LOOKS // 3 :]
        slope = float(np.polyfit(range(len(last)), last, 1)[0]) / (each * CALLERS)
        return [
            Figure("calls", run.size),
            Figure("streams", run.size // STREAMS),
            Figure("calls cancelled", run.size // CANCELS),
            Figure("memory at the end", sizes[-1] / (1 << 20), "MiB"),
            Figure(
                "growth in ten thousand calls",
                slope * 10_000 / (1 << 20),
                "MiB",
                at_most=max(MIB_IN_TEN_THOUSAND, NOISE_MIB * 10_000 / run.size),
            ),
            *subject.left(before),
        ]


def _work(
    pool: ThreadPoolExecutor,
    channels: list[grpc.Channel],
    kinds: tuple[Kind, ...],
    each: int,
) -> None:
    """So many calls on each channel, and streams and cancelled calls between them."""

    def ask(channel: grpc.Channel) -> None:
        method: Any = channel.unary_unary(kserve.MODEL_INFER)
        for number in range(each):
            kind = kinds[number % len(kinds)]
            assert kind.is_answered(infer(channel, kind.ask(number)), number)
            if number % CANCELS == 0:
                method.future(kind.ask(number).SerializeToString()).cancel()
            if number % STREAMS == 0:
                _stream(channel, STREAMED[number // STREAMS % len(STREAMED)])

    list(pool.map(ask, channels))


def _stream(channel: grpc.Channel, kind: Kind) -> None:
    with Stream(channel, kind.ask(1), kind.ask(2)) as stream:
        stream.half_close()
        assert list(stream.rest())

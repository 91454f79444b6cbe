"""R9: calls whose time is over before they are done, thousands of them, end as such, keep
nothing, and what expired while it waited is not computed.
"""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
import numpy as np
from ovms_mp_protos import kserve

from tests.gates.gate import Figure, Run, none
from tests.gates.kinds import STATELESS
from tests.gates.subject import Subject, build
from tests.wire.calls import ask, connect, status_of
from tests.wire.waiting import until

CALLERS: Final = 16
SHORTEST, LONGEST = 0.001, 0.005  # seconds
SQUARE: Final = np.zeros((512, 512), np.float32)
EXPECTED: Final = {"OK", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
WAITING: Final = 20
ATTEMPTS: Final = 5


def kept(run: Run) -> list[Figure]:
    """Calls with deadlines of 1 to 5 ms, to servables of every kind and to one that is
    far too slow, end by DEADLINE_EXCEEDED or are answered; no slot is lost, and what
    expired in a queue is not inferred.
    """
    messages = [kind.ask(7).SerializeToString() for kind in STATELESS]
    messages += [
        ask(name, {port: SQUARE}).SerializeToString()
        for name, port in (("sluggish", "x"), ("slow", "in"))
    ]
    codes: Counter[str] = Counter()
    lock = threading.Lock()
    with Subject(run.folder, "--config_path", str(build(run.folder))) as subject:
        address = subject.ready()
        with connect(address) as channel:
            _warm(channel, messages)
        before = subject.state()

        def call(seed: int) -> None:
            chance = random.Random(seed)
            with connect(address) as channel:
                method: Any = channel.unary_unary(kserve.MODEL_INFER)
                for _ in range(run.size // CALLERS):
                    message = chance.choice(messages)
                    seconds = chance.uniform(SHORTEST, LONGEST)
                    code, _ = status_of(lambda: method(message, timeout=seconds))  # noqa: B023 # called at once
                    with lock:
                        codes[code] += 1

        with ThreadPoolExecutor(CALLERS) as pool:
            list(pool.map(call, range(CALLERS)))
        with connect(address) as channel:
            computed = _computed_of_expired(subject, channel)
            is_live = subject.is_live(channel)
        return [
            Figure("calls", codes.total()),
            Figure("that were over too early", codes["DEADLINE_EXCEEDED"], at_least=1),
            none(
                "other codes",
                sum(codes[each] for each in codes if each not in EXPECTED),
            ),
            none("expired in the queue, and inferred all the same", computed),
            none("servers that do not answer any more", not is_live),
            *subject.left(before),
        ]


def _warm(channel: grpc.Channel, messages: list[bytes]) -> None:
    method: Any = channel.unary_unary(kserve.MODEL_INFER)
    for each in messages:
        method(each, timeout=60)


def _computed_of_expired(subject: Subject, channel: grpc.Channel) -> float:
    """While all slots are busy, calls come that expire before one is free."""
    for _ in range(ATTEMPTS):
        computed = _expired_behind(subject, channel)
        if computed is not None:
            return computed
    raise AssertionError("a slot was free, each time")


def _expired_behind(subject: Subject, channel: grpc.Channel) -> float | None:
    """None if a slot was free before they had expired."""
    method: Any = channel.unary_unary(kserve.MODEL_INFER)
    message = ask("sluggish", {"x": SQUARE}).SerializeToString()
    until(subject.is_idle)
    slots = _inferences(subject, "ovms_infer_req_queue_size")
    done = _inferences(subject, "ovms_inference_time_us_count")
    busy = [method.future(message, timeout=60) for _ in range(int(slots))]
    until(lambda: subject.total("ovms_infer_req_active") >= slots)
    expired = [method.future(message, timeout=0.02) for _ in range(WAITING)]
    codes = [each.code() for each in expired]
    was_free = any(each.done() for each in busy)
    for each in busy:
        each.result()
    until(subject.is_idle)
    if was_free:
        return None
    assert set(codes) == {grpc.StatusCode.DEADLINE_EXCEEDED}, codes
    return _inferences(subject, "ovms_inference_time_us_count") - done - slots


def _inferences(subject: Subject, family: str) -> float:
    """Of the slow model."""
    page = subject.rest.get("/metrics").body.decode()
    found = re.findall(rf'^{family}\{{name="sluggish".*\}} (\S+)$', page, re.MULTILINE)
    return sum(map(float, found))

"""Worker processes: what they cost the server when they go wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ovms_mp.native import workers
from ovms_mp.native.workers import NativeFailure, Pool, Worker
from tests.wire.waiting import until

pytestmark = pytest.mark.usefixtures("wheel")

DESCRIBE = {"call": "describe", "text": "", "streams": [], "sides": []}


SHARES = """
from ovms_mp.native.packets import Packets
from ovms_mp.native.types import Item
from ovms_mp.native.worker import load_bindings

packets = Packets(load_bindings())
for kind in ("image_frame", "image"):
    buffer = bytearray(2 * 2 * 3)
    packet = packets.packet("", Item(kind, ["SRGB", "|u1", [2, 2, 3]], [buffer]))
    buffer[:] = bytes([9]) * len(buffer)
    (pixels,) = packets.item(packet).buffers
    print(sum(memoryview(pixels).tobytes()))
"""


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_calls_are_answered_in_turn() -> None:
    worker = Worker()
    text = (
        'input_stream: "a" output_stream: "b" node { '
        'calculator: "StringToIntCalculator" input_side_packet: "s" '
        'output_side_packet: "i" } input_side_packet: "s" '
        'node { calculator: "PassThroughCalculator" input_stream: "a" '
        'output_stream: "b" }'
    )
    try:
        one = worker.call(DESCRIBE)
        other = worker.call(
            {"call": "describe", "text": text, "streams": ["a"], "sides": ["s"]}
        )
        found = other.result(20).header
        assert one.is_settled
        assert found == {"streams": {"a": ""}, "sides": {"s": "string"}}
    finally:
        worker.kill()


def test_an_image_shares_no_memory_with_what_it_was_made_of() -> None:
    # Native threads would let go of it without the GIL.
    child = subprocess.run(
        [sys.executable, "-c", SHARES], check=True, capture_output=True, text=True
    )
    assert child.stdout.split() == ["0", "0"]


def test_a_graph_that_is_wrong_is_an_answer_not_an_end() -> None:
    worker = Worker()
    try:
        wrong = worker.call({**DESCRIBE, "text": 'node { calculator: "NoSuchThing" }'})
        with pytest.raises(NativeFailure, match="NoSuchThing"):
            wrong.result(20)
        assert worker.call(DESCRIBE).result(20)
    finally:
        worker.kill()


def test_a_worker_that_takes_too_long_is_killed() -> None:
    worker = Worker()
    assert worker.call(DESCRIBE).result(20)
    os.kill(worker.pid, signal.SIGSTOP)
    late = worker.call(DESCRIBE, seconds=0.2)
    with pytest.raises(NativeFailure, match=r"more than 0\.2 s"):
        late.result(20)
    assert until(lambda: is_gone(worker.pid))


def test_who_gives_a_result_up_ends_the_worker() -> None:
    worker = Worker()
    assert worker.call(DESCRIBE).result(20)
    os.kill(worker.pid, signal.SIGSTOP)
    worker.call(DESCRIBE).cancel()
    assert until(lambda: is_gone(worker.pid))


def test_a_call_after_the_end_fails() -> None:
    worker = Worker()
    worker.kill()
    with pytest.raises(NativeFailure, match="has ended"):
        worker.call(DESCRIBE).result(20)


def test_calls_that_wait_fail_when_the_worker_ends() -> None:
    worker = Worker()
    assert worker.call(DESCRIBE).result(20)
    os.kill(worker.pid, signal.SIGSTOP)
    waiting = [worker.call(DESCRIBE) for _ in range(3)]
    os.kill(worker.pid, signal.SIGKILL)
    for each in waiting:
        with pytest.raises(NativeFailure, match="ended"):
            each.result(20)
    worker.kill()


def test_a_spare_worker_is_there_while_somebody_may_need_it() -> None:
    pool = Pool()
    assert pool.pids == set()
    pool.hold()
    pool.hold()
    (spare,) = pool.pids
    taken = pool.take()
    assert taken.pid == spare
    assert len(pool.pids) == 2
    taken.kill()
    pool.release()
    assert until(lambda: len(pool.pids) == 1)
    pool.release()
    assert until(lambda: not pool.pids)


def test_a_spare_worker_that_has_died_is_not_handed_out() -> None:
    pool = Pool()
    pool.hold()
    (spare,) = pool.pids
    os.kill(spare, signal.SIGKILL)
    assert until(lambda: not pool.is_spare_alive)
    taken = pool.take()
    assert taken.call(DESCRIBE).result(20)
    taken.kill()
    pool.release()
    assert until(lambda: not pool.pids)


def test_there_is_an_end_to_the_number_of_workers() -> None:
    pool = Pool(max_workers=1)
    taken = pool.take()
    with pytest.raises(workers.ServingError, match="1 native workers are in use"):
        pool.take()
    taken.kill()
    assert until(lambda: not pool.pids)
    pool.take().kill()

"""What waits to be sent, without a wire."""

from __future__ import annotations

import threading

import pytest

from ovms_mp.frontend.transport.outbox import Outbox
from ovms_mp.frontend.transport.seam import Code, Ending, SendQueueFull

ENDING = Ending(Code.OK)


def test_messages_leave_in_order_and_are_counted_until_they_are_sent() -> None:
    outbox = Outbox(3)
    for message in (b"a", b"bb", b"ccc"):
        assert outbox.put(message, None)
    assert (outbox.queued, outbox.queued_bytes) == (3, 6)
    assert outbox.take() == b"a"
    assert (outbox.queued, outbox.queued_bytes) == (3, 6)
    outbox.sent()
    assert (outbox.queued, outbox.queued_bytes) == (2, 5)
    assert outbox.take() == b"bb"
    outbox.sent()
    assert outbox.take() == b"ccc"
    outbox.sent()
    assert outbox.take() is None
    assert (outbox.queued, outbox.queued_bytes) == (0, 0)


def test_a_full_outbox_takes_no_more_until_one_is_sent() -> None:
    outbox = Outbox(2)
    outbox.put(b"1", None)
    outbox.put(b"2", None)
    with pytest.raises(SendQueueFull):
        outbox.put(b"3", None)
    outbox.take()
    with pytest.raises(SendQueueFull):
        outbox.put(b"3", None)
    outbox.sent()
    assert outbox.put(b"3", None)


def test_after_the_status_nothing_is_taken_and_what_waits_still_leaves() -> None:
    outbox = Outbox(2)
    outbox.put(b"1", None)
    assert outbox.finish(ENDING)
    assert not outbox.finish(Ending(Code.INTERNAL))
    assert not outbox.put(b"2", None)
    assert outbox.ending == ENDING
    assert outbox.take() == b"1"


def test_a_dropped_outbox_tells_everyone_once_who_is_not_told_yet() -> None:
    told: list[int] = []
    outbox = Outbox(4)
    for number in range(4):
        outbox.put(b"x", lambda _, number=number: told.append(number))
    outbox.take()
    first = outbox.sent()
    assert first is not None
    first(True)
    outbox.take()
    for on_written in outbox.drop():
        on_written(False)
    assert told == [0, 1, 2, 3]
    assert outbox.sent() is None
    assert outbox.drop() == []
    assert outbox.take() is None
    assert not outbox.put(b"x", None)
    assert not outbox.finish(ENDING)
    assert (outbox.queued, outbox.queued_bytes) == (0, 0)


def test_threads_may_put_at_once_and_never_beyond_the_limit() -> None:
    outbox, accepted = Outbox(50), []

    def fill() -> None:
        while True:
            try:
                outbox.put(b"x", None)
            except SendQueueFull:
                return
            accepted.append(1)

    threads = [threading.Thread(target=fill) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accepted) == outbox.queued == 50

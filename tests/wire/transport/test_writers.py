"""A writer beside whoever sends: he neither waits for him nor is he overlooked."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ovms_mp.frontend.transport.core import CoreServer
from ovms_mp.frontend.transport.outbox import Outbox
from ovms_mp.frontend.transport.seam import Ending
from tests.wire.transport.world import Made, Open, World, until

LATE = b"late"


@pytest.fixture
def world() -> Iterator[World]:
    made = World(CoreServer)
    yield made
    made.close()


def test_what_comes_when_the_sender_has_looked_in_vain_is_sent_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He has the call's lock, and says that he sends: the writer leaves it to him."""
    opened = Made(Open)
    world.serve({"s": opened})
    writers: list[threading.Thread] = []
    looked = Outbox.take_with_ending

    def look(outbox: Outbox) -> tuple[bytes | None, Ending | None]:
        found = looked(outbox)
        if found == (None, None) and not writers:
            call = opened.last.call
            writers.append(threading.Thread(target=call.write, args=(LATE,)))
            writers[0].start()
            writers[0].join(10)
            assert not writers[0].is_alive(), "the writer waits for the lock"
        return found

    monkeypatch.setattr(Outbox, "take_with_ending", look)
    answers = world.stream("s")(iter([b"hello"]), timeout=20)
    assert until(lambda: opened.sessions and opened.sessions[0].messages)
    opened.last.call.write(b"first")
    assert next(answers) == b"first"
    assert next(answers) == LATE
    opened.last.call.finish()
    assert list(answers) == []


def test_writers_beside_the_polling_thread_lose_nothing(world: World) -> None:
    opened = Made(Open)
    world.serve({"s": opened})
    answers = world.stream("s")(iter([b"hello"]), timeout=60)
    call = opened.last.call
    count, writers = 2000, 3
    room = threading.Semaphore(call.send_limit)

    def write(writer: int) -> None:
        for number in range(count):
            room.acquire()
            assert call.write(b"%d %d" % (writer, number), lambda _: room.release())

    threads = [threading.Thread(target=write, args=(each,)) for each in range(writers)]
    for each in threads:
        each.start()
    found: dict[int, list[int]] = {each: [] for each in range(writers)}
    for _ in range(count * writers):
        writer, number = map(int, next(answers).split())
        found[writer].append(number)
    for each in threads:
        each.join()
    call.finish()
    assert list(answers) == []
    assert all(numbers == list(range(count)) for numbers in found.values())

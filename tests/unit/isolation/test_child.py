"""A process for foreign code, from its start to its burial."""

from __future__ import annotations

import select
from pathlib import Path

from ovms_mp.isolation.child import Child
from tests.wire.waiting import until


def open_files() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


def test_the_end_of_a_process_is_heard_also_after_it_was_seen() -> None:
    before = open_files()
    child = Child("ovms_mp.isolation.nothing", is_heard=True)
    assert until(lambda: not child.is_alive)
    assert select.select([child.exit], [], [], 0)[0]
    assert child.how_it_ended() == " with exit code 1"
    child.kill()
    child.bury()
    assert open_files() == before


def test_a_process_that_is_killed_is_heard_to_end() -> None:
    child = Child("ovms_mp.isolation.frames")
    child.kill()
    child.kill()
    assert select.select([child.exit], [], [], 10)[0]
    assert child.how_it_ended() == " by SIGKILL"
    child.bury()

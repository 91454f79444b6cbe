"""Workers that are forked from a template, from their start to their burial."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovms_mp.isolation.forking import Forked, Templates
from tests.wire.waiting import until

WORDS = """
import os, socket, sys
from ovms_mp.isolation import worker

def main():
    link = worker.connect(sys.argv)
    os.write(1, f"here {os.getpid()}\\n".encode())
    word = link.recv(100).decode()
    if word == "files":
        link.sendall(str(len(os.listdir("/proc/self/fd"))).encode())
    os._exit(int(word)) if word.isdigit() else os._exit(0)
"""


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Templates]:
    (tmp_path / "words_of_a_worker.py").write_text(WORDS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = open_files()
    templates = Templates("words_of_a_worker")
    with templates.held():
        yield templates
    assert open_files() == before


def open_files() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


def ended(worker: Forked) -> bool:
    poll = select.poll()
    poll.register(worker.exit, select.POLLIN)
    return bool(poll.poll(30_000))


def test_a_worker_says_where_it_is_heard_and_how_it_ended(templates: Templates) -> None:
    worker = templates.fork()
    assert os.read(worker.output, 100) == f"here {worker.pid}\n".encode()
    worker.link.sendall(b"7")
    assert ended(worker)
    assert worker.how_it_ended() == " with exit code 7"
    worker.kill()
    worker.bury()
    worker.kill()


def test_a_worker_has_nothing_of_the_others(templates: Templates) -> None:
    """Standard streams, its link and its lifeline, and what it lists them with."""
    workers = [templates.fork() for _ in range(5)]
    for each in workers:
        each.link.sendall(b"files")
        assert each.link.recv(100) == b"6"
        each.bury()


def test_what_nobody_waits_for_is_killed_when_it_is_buried(
    templates: Templates,
) -> None:
    worker = templates.fork()
    worker.bury()
    assert worker.how_it_ended() == " by SIGKILL"
    assert not Path(f"/proc/{worker.pid}").exists()


def test_the_template_is_there_for_as_long_as_it_is_held(templates: Templates) -> None:
    worker = templates.fork()
    template = parent(worker.pid)
    with templates.held():
        other = templates.fork()
    assert parent(other.pid) == template
    for each in (worker, other):
        each.bury()
    third = templates.fork()
    assert parent(third.pid) == template
    third.bury()


def test_the_template_runs_no_thread(templates: Templates) -> None:
    """What another one holds at a fork would be held in the worker for ever."""
    worker = templates.fork()
    template = parent(worker.pid)
    assert [each.name for each in Path(f"/proc/{template}/task").iterdir()] == [
        str(template)
    ]
    worker.bury()


def test_a_module_that_cannot_be_imported_is_an_error_and_no_hang() -> None:
    before = open_files()
    templates = Templates("ovms_mp.isolation.nothing")
    with templates.held(), pytest.raises(ConnectionError):
        templates.fork()
    assert open_files() == before


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_template_that_is_gone_is_replaced(templates: Templates) -> None:
    worker = templates.fork()
    template = parent(worker.pid)
    os.kill(template, 9)
    assert ended(worker)
    worker.bury()
    assert until(lambda: not Path(f"/proc/{worker.pid}").exists())
    other = templates.fork()
    assert parent(other.pid) != template
    other.bury()

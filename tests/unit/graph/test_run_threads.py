"""Which thread goes on with a run while one of its nodes waits for long work."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ovms_mp.core.threads import Threads
from tests.unit.graph.support import Leaves, Run
from tests.unit.inference.slots import await_

PASS = 'node { calculator: "PassThrough" input_stream: "in" output_stream: "passed" }'
LEAVES = 'node { calculator: "Leaves" input_stream: "in" output_stream: "late" }'


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads("run", 1)
    Leaves.gate = threading.Event()
    Leaves.idents = []
    yield made
    Leaves.gate.set()
    made.close()


def test_another_thread_goes_on_with_what_is_ready(threads: Threads) -> None:
    # What is last in the graph is called first.
    run = Run(
        f'input_stream: "in" output_stream: "passed" output_stream: "late" {PASS} {LEAVES}',
        submit=threads.submit,
    )
    run.feed("in", 1, "x")
    await_(lambda: len(run.packets) >= 1)
    assert run.packets == [("passed", 1, "x")]
    Leaves.gate.set()
    await_(lambda: len(run.packets) >= 2)
    assert run.packets[1] == ("late", 1, "x")


def test_one_thread_does_all_where_nothing_else_is_ready(threads: Threads) -> None:
    last = (
        'node { calculator: "PassThrough" input_stream: "late" output_stream: "out" }'
    )
    run = Run(
        f'input_stream: "in" output_stream: "out" {LEAVES} {last}',
        submit=threads.submit,
    )
    Leaves.gate.set()
    for at in range(20):
        run.feed("in", at, at)
        await_(lambda at=at: len(run.packets) > at)
    assert run.packets == [("out", at, at) for at in range(20)]
    assert len(Leaves.idents) == 60
    for at in range(0, 60, 3):
        assert len(set(Leaves.idents[at : at + 3])) == 1


def test_a_run_that_ends_meanwhile_ends_once(threads: Threads) -> None:
    run = Run(
        f'input_stream: "in" output_stream: "late" {LEAVES}', submit=threads.submit
    )
    run.feed("in", 1, "x")
    run.run.cancel()
    await_(lambda: run.is_done)
    assert run.error is not None
    assert run.packets == []

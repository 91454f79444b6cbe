"""The instrument of `make bench` counts what happens, and notices what should not."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovms_mp_protos import kserve

from tests.bench import report
from tests.bench.client import Work
from tests.bench.fleet import Fleet, LoadFailed, Slice, clients, cpu_of, share
from tests.bench.http2 import Messages, prefixed
from tests.bench.measure import Row, ratio
from tests.bench.servers import Server, canned
from tests.wire.calls import ask, floats
from tests.wire.servers import Server as Served

ANSWER = b"a" * 200_000  # more than a window of HTTP/2


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with clients(2) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with canned(ANSWER, tmp_path_factory.mktemp("canned")) as server:
        yield server


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 9))
def test_messages_are_counted_however_they_are_cut(
    messages: list[bytes], size: int
) -> None:
    data = b"".join(map(prefixed, messages))
    counter = Messages()
    taken = [
        counter.take(memoryview(data)[at : at + size])
        for at in range(0, len(data), size)
    ]
    assert sum(taken) == counter.count == len(messages)


@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize("streams", [0, 4])
def test_clients_get_every_answer_whatever_its_size(
    fleet: Fleet, server: Server, size: int, streams: int
) -> None:
    path = kserve.MODEL_STREAM_INFER if streams else kserve.MODEL_INFER
    for seconds in (0.5, 10.0):  # the second if the machine was busy all that time
        in_flight = 1 if streams else 4
        work = Work(server.address, path, b"q" * size, seconds, in_flight, streams)
        seen = fleet.load(share(work, 2), server.pid)
        if seen.latencies:
            break
    assert seen.latencies and min(seen.latencies) > 0
    assert seen.rate == len(seen.latencies) / seconds


def test_a_server_that_refuses_is_no_fast_server(
    fleet: Fleet, zoo_server: Served
) -> None:
    host, _, port = zoo_server.address.rpartition(":")
    message = ask("nobody", {"x": floats(1)}).SerializeToString()
    work = Work((host, int(port)), kserve.MODEL_INFER, message, 0.2)
    with pytest.raises(LoadFailed, match="a call has failed"):
        fleet.load([work])


def test_clients_and_grpcio_see_the_same_answers(
    fleet: Fleet, zoo_server: Served
) -> None:
    host, _, port = zoo_server.address.rpartition(":")
    message = ask("add_one", {"x": floats(*range(10))}).SerializeToString()
    with grpc.insecure_channel(zoo_server.address) as channel:
        assert channel.unary_unary(kserve.MODEL_INFER)(message)
    before = zoo_server.app.catalog.statistics("add_one", "")["add_one", "1"]
    work = Work((host, int(port)), kserve.MODEL_INFER, message, 0.5, 4)
    seen = fleet.load(share(work, 2))
    after = zoo_server.app.catalog.statistics("add_one", "")["add_one", "1"]
    answered = after.inference_count - before.inference_count
    # Those that were on their way at the end were answered, too, but too late.
    assert len(seen.latencies) <= answered <= len(seen.latencies) + 4


def test_nobody_there_is_said_so(fleet: Fleet) -> None:
    work = Work(("127.0.0.1", 1), kserve.MODEL_INFER, b"", 0.1)
    with pytest.raises(LoadFailed, match="refused"):
        fleet.load([work])


def test_the_cpu_of_a_process_is_that_of_its_children_too() -> None:
    import multiprocessing
    import os

    before = cpu_of(os.getpid())
    child = multiprocessing.get_context("spawn").Process(target=_burn)
    child.start()
    pid = child.pid
    assert pid
    while child.is_alive() and cpu_of(pid) < 0.3:
        pass
    assert cpu_of(os.getpid()) - before >= 0.3
    child.kill()
    child.join()


def _burn() -> None:
    while True:
        pass


def row(server: str, *rates: int) -> Row:
    made = Row("case", server, lambda seconds: Slice(seconds, array("d")))
    made.slices = [Slice(1.0, array("d", [0.001] * rate)) for rate in rates]
    return made


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    # The machine was three times as slow in the second round, for both.
    assert ratio(row("a", 300, 100, 280), row("b", 100, 50, 100)) == pytest.approx(2.8)
    assert ratio(row("a", 300), row("b", 100), row("c", 200)) == 2.0


def test_a_report_has_each_row_in_each_form(tmp_path: Path) -> None:
    rows = [row("ovms_mp", 300).told(), row("other <one>", 100).told()]
    aims = [
        {"what": "a / b", "ratio": 0.5, "at least": 1.0},
        {"what": "a / c", "ratio": 0.1, "at least": None},
    ]
    text = report.write(rows, aims, {"more": [{"case": "x", "y": 1}]}, {}, tmp_path)
    assert (
        "| case | ovms_mp | 300 |" in text and "missed" in text and "| x | 1 |" in text
    )
    assert "| a / c | **0.10** | - |  |" in text and text.count("missed") == 1
    picture = (tmp_path / "benchmarks.svg").read_text()
    assert "ovms_mp" in picture and "other &lt;one&gt;" in picture

"""Two workers are one server to those who talk to it."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from ovms_mp_protos import kserve

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import Stream, ask, floats, infer, text
from tests.wire.servers import Process, sample
from tests.wire.waiting import until
from tests.workers.conftest import serving
from tests.workers.servers import Workers, is_ready, pid_in, who, workers_of

pytestmark = pytest.mark.timeout(240)

FIVE: Final = floats(1, 2, 3, 4, 5)
LINE: Final = r"\[[\d-]+ [\d:.]+\]\[[\w.]+\]\[\w+\](\[worker [12]\])? \S"
INFER: Final = {
    "api": "KServe",
    "interface": "gRPC",
    "method": "ModelInfer",
    "name": "add_one",
    "version": "1",
}


def test_connections_are_shared_and_what_they_do_is_counted_as_one(
    standing: Workers,
) -> None:
    with ExitStack() as stack:
        channels = standing.channels(stack, per_worker=2)
        total = 0
        everyone = [each for of_worker in channels.values() for each in of_worker]
        for number, each in enumerate(everyone):
            for _ in range(number + 1):
                infer(each, ask("add_one", {"x": FIVE}))
                total += 1
        # Whoever answers: each of these is a connection of its own.
        for _ in range(8):
            page = standing.page()
            assert sample(page, "ovms_requests_success", INFER) == total
            timed = {"name": "add_one", "version": "1"}
            assert sample(page, "ovms_inference_time_us_count", timed) == total
            edges = {**timed, "le": "+Inf"}
            assert sample(page, "ovms_inference_time_us_bucket", edges) == total
            assert "\novms_mp_workers 2\n" in page
            assert "\novms_mp_worker_restarts 0\n" in page
            assert page.count("# TYPE ovms_requests_success counter") == 1
        # Gauges, too: a stream on each worker.
        streams = [
            stack.enter_context(Stream(each[0], ask("who", {"word": text("")})))
            for each in channels.values()
        ]
        for stream in streams:
            stream.answer()
        who_is_open = "ovms_current_graphs", {"name": "who"}
        assert until(lambda: sample(standing.page(), *who_is_open) == 2)


def test_workers_divide_the_cores(tmp_path: Path) -> None:
    """Each would have a stream of OpenVINO's for each core; together they have as many."""
    folder = tmp_path / "divided"
    zoo.add_model(folder, "wide", tiny.add_one((1, 5)))
    wide = zoo.entry("wide", plugin_config={"PERFORMANCE_HINT": "THROUGHPUT"})
    with serving(zoo.write_config(folder, [wide]), tmp_path) as server:
        labels = {"name": "wide", "version": "1"}
        streams = sample(server.page(), "ovms_streams", labels)
    assert streams is not None
    assert 2 <= streams <= max(2, len(os.sched_getaffinity(0)))


def test_a_stream_and_a_connection_stay_with_their_worker(standing: Workers) -> None:
    with ExitStack() as stack:
        for pid, (channel, *_) in standing.channels(stack, per_worker=1).items():
            with Stream(channel) as stream:
                for _ in range(20):
                    stream.send(ask("who", {"word": text("")}))
                    assert pid_in(stream.answer()) == pid
                    assert who(channel) == pid


def test_health_is_ready_through_each_worker(standing: Workers) -> None:
    with ExitStack() as stack:
        for channel, *_ in standing.channels(stack, per_worker=1).values():
            assert until(lambda channel=channel: is_ready(channel))
            listed: Any = channel.unary_unary(
                kserve.HEALTH_LIST, None, kserve.HealthListResponse.FromString
            )
            assert {
                name: each.status for name, each in listed(b"").statuses.items()
            } == dict.fromkeys(("", "add_one", "who"), 1)


def test_each_line_of_the_log_says_whose_it_is(server: Workers) -> None:
    server.ask_to_stop()
    assert server.code() == 0
    lines = server.log.splitlines()
    assert [line for line in lines if not re.match(LINE, line)] == []
    for number in (1, 2):
        assert server.lines(f"[worker {number}]", "serving: add_one, who")
    of_all = [line.partition("] ")[2] for line in lines if "[worker" not in line]
    assert of_all[-2:] == [
        "all 2 workers serve",
        "stopping",
    ]


def test_the_supervisor_holds_no_engine_and_one_process_needs_none(
    standing: Workers, config: Path, tmp_path: Path
) -> None:
    supervisor = mapped(standing.process.pid)
    assert not [each for each in supervisor if "openvino" in each or "cygrpc" in each]
    for pid in standing.pids():
        assert [each for each in mapped(pid) if "libopenvino" in each]
    alone = tmp_path / "alone"
    alone.mkdir()
    flags = ("--config_path", str(config), "--grpc_workers", "1")
    with Process(alone, *flags) as single:
        single.ready()
        assert workers_of(single.process.pid) == set()
        assert [each for each in mapped(single.process.pid) if "libopenvino" in each]
        assert "worker" not in single.log


def mapped(pid: int) -> set[str]:
    """Files in a process's memory."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if line.count(" ") > 5}

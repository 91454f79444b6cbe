"""A page shows all workers, whichever of them its connection came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.wire.calls import Stream, ask, refusal, text
from tests.wire.rest import Rest
from tests.wire.test_seeing import looking, seen
from tests.workers.servers import Workers

pytestmark = pytest.mark.timeout(240)


@contextmanager
def streaming(server: Workers, each: int) -> Iterator[Sequence[Stream]]:
    """Open streams, some in each worker."""
    with ExitStack() as stack:
        found = server.channels(stack, each)
        streams = [
            stack.enter_context(Stream(channel, ask("who", {"word": text("hi")}, at=0)))
            for channels in found.values()
            for channel in channels[:each]
        ]
        for stream in streams:
            stream.answer()
        yield streams


def test_open_streams_of_all_workers_are_told(standing: Workers) -> None:
    with (
        streaming(standing, 2) as streams,
        looking(Rest(standing.rest_port())) as events,
    ):
        told = seen(events, lambda each: each["workers"] == 2)
        assert told["silent"] == []
        assert told["open"] == len(streams) == 4
        numbers = [each["number"] for each in told["streams"]]
        assert len(set(numbers)) == 4
        assert {number.partition(".")[0] for number in numbers} == {"1", "2"}
        (who,) = [each for each in told["servables"] if each["name"] == "who"]
        assert [each["state"] for each in who["versions"]] == ["AVAILABLE"]
        assert who["reason"] == ""


def test_what_a_graph_does_in_all_workers_is_added_up(standing: Workers) -> None:
    with (
        streaming(standing, 1) as streams,
        looking(Rest(standing.rest_port()), "who") as events,
    ):
        seen(events, lambda each: each["workers"] == 2 and each["graph"])
        for stream in streams:  # by turns: each worker does something, and is seen
            seen(events, lambda each: not each["graph"]["requests"])
            stream.send(ask("who", {"word": text("hi")}))
            stream.answer()
            graph = seen(events, lambda each: each["graph"]["requests"])["graph"]
            assert graph["answers"] > 0
            assert graph["latency"] > 0
            assert graph["streams"]["word"] > 0
            assert any(node["rate"] > 0 for node in graph["nodes"])


def test_failures_in_all_workers_are_told(standing: Workers) -> None:
    with ExitStack() as stack:
        for number, (channel, *_) in enumerate(standing.channels(stack, 1).values()):
            refusal(channel, ask("who", {f"stranger{number}": text("hi")}))
    with looking(Rest(standing.rest_port())) as events:
        told = seen(events, lambda each: each["workers"] == 2)["errors"]
    for number in range(2):
        assert any(f"stranger{number}" in each["text"] for each in told)
    assert told == sorted(told, key=lambda each: -each["time"])


def test_a_trace_is_of_all_workers(standing: Workers) -> None:
    rest = Rest(standing.rest_port())
    at = 0
    with streaming(standing, 1) as streams, ThreadPoolExecutor(1) as pool:
        tracing = pool.submit(rest.ask, "POST", "/v1/trace?seconds=1")
        while not tracing.done():  # whenever it begins in a worker
            at += 1
            for stream in streams:
                stream.send(ask("who", {"word": text("hi")}, at=at))
                stream.answer()
    events: list[Any] = tracing.result().json["traceEvents"]
    names = [each["args"]["name"] for each in events if each["name"] == "process_name"]
    assert sorted(name.rpartition(" ")[2] for name in names) == ["1", "2"]
    assert all(name.startswith("who stream ") for name in names)
    by_run: dict[int, set[int]] = {}
    for each in events:
        if each["ph"] == "X":
            by_run.setdefault(each["pid"], set()).add(each["args"]["timestamp"])
    assert len(by_run) == 2
    assert all(found <= {*range(at + 1)} for found in by_run.values())

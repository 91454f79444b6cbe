"""Laws of handlers that yield and wait, over the wire: with a loop, without one, as
coroutines.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from ovms_mp_protos import kserve

from tests.python_nodes.site import LOOPBACK, PROCESS, graph, served
from tests.wire.calls import (
    TIMESTAMP,
    Request,
    Stream,
    arrays,
    ask,
    infer,
    text,
    timestamp,
)
from tests.wire.servers import Server
from tests.wire.waiting import POLL, until

WORDS = ("first", "second", "last")
IDLE = 0.4  # seconds
RESTS_AFTER = 1.0
MOST = 400
"""Parts of 100 kB that fit between the two: transports buffer some megabytes."""
ENOUGH = [f"word-{number}" for number in range(10_000)]  # for as long as a test waits

# Each word waits for a file of its name, so that a test decides when it is there.
PATIENT = """
import asyncio, time
from pathlib import Path
from pyovms import Tensor

class OvmsPythonModel:
    def execute(self, inputs):
        folder = Path(bytes(inputs[0]).decode())
        try:
            for word in (folder / "words").read_text().split():
                (folder / f"{word}.wanted").touch()
                end = time.monotonic() + 30
                while not (folder / word).exists():
                    assert time.monotonic() < end
                    time.sleep(0.005)
                yield [Tensor("out", word.encode())]
        finally:
            (folder / "ended").touch()
"""
ASYNC = PATIENT.replace("def execute", "async def execute").replace(
    "time.sleep", "await asyncio.sleep"
)
ENDLESS = """
from pathlib import Path
from pyovms import Tensor

class OvmsPythonModel:
    def execute(self, inputs):
        folder = Path(bytes(inputs[0]).decode())
        number = 0
        try:
            while True:
                with (folder / "made").open("a") as file:
                    file.write(".")
                yield [Tensor("out", b"x" * 100_000)]
                number += 1
        except GeneratorExit:
            (folder / "count").write_text(str(number))
            raise
"""
# A process is interrupted, as by Ctrl-C, if its client goes while it is at work.
ENDLESS_APART = ENDLESS.replace("GeneratorExit", "(GeneratorExit, KeyboardInterrupt)")
# Waits, and returns one list.
RETURNING = PATIENT.replace("yield [Tensor", "answer = [Tensor").replace(
    "        finally:", "            return answer\n        finally:"
)
ASYNC_RETURNING = ASYNC.replace("yield [Tensor", "answer = [Tensor").replace(
    "        finally:", "            return answer\n        finally:"
)
LATE = PATIENT.replace(
    "        finally:", "            raise OSError('no more')\n        finally:"
)
GRAPHS = {
    "loop": (graph(*LOOPBACK), PATIENT),
    "free": (graph(), PATIENT),
    "wide": (graph("max_in_flight: 4"), PATIENT),
    "async": (graph(), ASYNC),
    "endless_loop": (graph(*LOOPBACK), ENDLESS),
    "endless_free": (graph(), ENDLESS),
    "endless_wide": (graph("max_in_flight: 4"), ENDLESS),
    # The same in processes; those that wait take one each, for a while.
    "loop_process": (graph(*LOOPBACK, options=f"{PROCESS} workers: 2"), PATIENT),
    "free_process": (graph(options=PROCESS), PATIENT),
    "wide_process": (graph("max_in_flight: 4", options=PROCESS), PATIENT),
    "async_process": (graph(options=PROCESS), ASYNC),
    "endless_process": (graph(options=PROCESS), ENDLESS_APART),
}
# Several calls of a stream at a time.
WIDE = {
    "wide": graph("max_in_flight: 4"),
    "wide_process": graph("max_in_flight: 4", options=f"{PROCESS} workers: 2"),
}
OVERLAPPING = {
    **{f"{name}_yields": (pbtxt, PATIENT) for name, pbtxt in WIDE.items()},
    **{f"{name}_async_yields": (pbtxt, ASYNC) for name, pbtxt in WIDE.items()},
    **{f"{name}_returns": (pbtxt, RETURNING) for name, pbtxt in WIDE.items()},
    **{
        f"{name}_async_returns": (pbtxt, ASYNC_RETURNING)
        for name, pbtxt in WIDE.items()
    },
}
FAILING = {
    "late_loop": (graph(*LOOPBACK), LATE),
    "late_free": (graph(), LATE),
    "late_wide": (graph("max_in_flight: 4"), LATE),
    "late_async": (graph(), LATE.replace("def execute", "async def execute")),
    "late_process": (graph(options=PROCESS), LATE),
}
ENDLESS_ONES = [name for name in GRAPHS if name.startswith("endless")]
PATIENT_ONES = [name for name in GRAPHS if name not in ENDLESS_ONES]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    graphs = {**GRAPHS, **OVERLAPPING, **FAILING}
    with served(tmp_path_factory.mktemp("streams"), graphs) as server:
        yield server


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel
    assert until(server.is_idle)


def told(name: str, folder: Path, words: Sequence[str] = WORDS) -> Request:
    (folder / "words").write_text(" ".join(words))
    return ask(name, {"in": text(str(folder))})


def heard(stream: Stream) -> tuple[int, str]:
    answer = stream.answer()
    return timestamp(answer), bytes(arrays(answer)["out"]).decode()


@pytest.mark.parametrize("name", PATIENT_ONES)
def test_a_part_is_heard_before_the_next_is_made(
    channel: grpc.Channel, tmp_path: Path, name: str
) -> None:
    with Stream(channel, told(name, tmp_path)) as stream:
        for number, word in enumerate(("first", "second", "last")):
            (tmp_path / word).touch()
            assert heard(stream) == (number, word)
        stream.half_close()
        assert stream.end() == ("OK", "")


@pytest.mark.parametrize("name", PATIENT_ONES)
def test_a_stream_that_generates_is_not_idle_between_two_parts(
    channel: grpc.Channel, tmp_path: Path, name: str
) -> None:
    request = told(name, tmp_path)
    request.parameters["OVMS_MP_IDLE_TIMEOUT_SECONDS"].double_param = IDLE
    with Stream(channel, request) as stream:
        (tmp_path / "first").touch()
        assert heard(stream) == (0, "first")
        assert until((tmp_path / "second.wanted").exists)
        until(lambda: False, within=3 * IDLE)  # much longer than it may be idle
        for number, word in ((1, "second"), (2, "last")):
            (tmp_path / word).touch()
            assert heard(stream) == (number, word)
        code, text = stream.end()
    assert code == "DEADLINE_EXCEEDED" and "(idle_timeout_seconds)" in text


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of two requests."""
    folders = tmp_path / "one", tmp_path / "other"
    for each in folders:
        each.mkdir()
    return folders


@pytest.mark.parametrize("name", [each for each in OVERLAPPING if "yields" in each])
def test_generations_of_one_stream_leave_as_they_come(
    channel: grpc.Channel, two: tuple[Path, Path], name: str
) -> None:
    """The second begins and ends while the first has something left to say."""
    one, other = two
    with Stream(channel, told(name, one, ["a", "d"])) as stream:
        (one / "a").touch()
        assert heard(stream) == (0, "a")
        assert until((one / "d.wanted").exists)
        stream.send(told(name, other, ["b", "c"]))
        for at, word in ((1, "b"), (2, "c")):
            (other / word).touch()
            assert heard(stream) == (at, word)
        assert until((other / "ended").exists) and not (one / "ended").exists()
        (one / "d").touch()
        assert heard(stream) == (3, "d")
        stream.half_close()
        assert stream.end() == ("OK", "")


@pytest.mark.parametrize("name", [each for each in OVERLAPPING if "returns" in each])
def test_calls_of_one_stream_overlap_and_are_answered_in_the_order_of_requests(
    channel: grpc.Channel, two: tuple[Path, Path], name: str
) -> None:
    """The second is over before the first can be."""
    one, other = two
    with Stream(channel, told(name, one, ["a"]), told(name, other, ["b"])) as stream:
        (other / "b").touch()
        assert until((other / "ended").exists) and not (one / "ended").exists()
        (one / "a").touch()
        assert [heard(stream) for _ in two] == [(0, "a"), (1, "b")]
        stream.half_close()
        assert stream.end() == ("OK", "")


@pytest.mark.parametrize("name", FAILING)
def test_a_client_that_is_silent_hears_of_a_failure_when_it_happens(
    channel: grpc.Channel, tmp_path: Path, name: str
) -> None:
    """OVMS tells it after the next request, or the half-close."""
    with Stream(channel, told(name, tmp_path, ["only"])) as stream:
        (tmp_path / "only").touch()
        assert heard(stream) == (0, "only")
        assert stream.end() == (
            "INVALID_ARGUMENT",
            "Mediapipe execution failed. MP status - INTERNAL: CalculatorGraph::Run() "
            'failed: Calculator::Process() for node "worker" failed: OSError: no more',
        )


@pytest.mark.parametrize("name", PATIENT_ONES)
def test_a_client_that_goes_ends_its_generation(
    server: Server, channel: grpc.Channel, tmp_path: Path, name: str
) -> None:
    words = iter(ENOUGH)
    with Stream(channel, told(name, tmp_path, ENOUGH)) as stream:
        (tmp_path / next(words)).touch()
        assert heard(stream) == (0, "word-0")
        stream.cancel()
        assert until(lambda: has_ended(tmp_path, words))
    assert until(server.is_idle)


def has_ended(folder: Path, words: Iterator[str]) -> bool:
    """Whether the generation has, which could always go on: a step that is under way
    comes to its end.
    """
    (folder / next(words)).touch()
    return (folder / "ended").exists()


@pytest.mark.parametrize("name", PATIENT_ONES)
def test_a_deadline_that_passes_ends_a_generation(
    server: Server, channel: grpc.Channel, tmp_path: Path, name: str
) -> None:
    method: Any = channel.stream_stream(kserve.MODEL_STREAM_INFER)
    heard: list[bytes] = []
    for seconds in (2, 8, 24):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        words = iter(ENOUGH)
        request = told(name, folder, ENOUGH)
        call = method(iter([request.SerializeToString()]), timeout=seconds)
        (folder / next(words)).touch()
        with pytest.raises(grpc.RpcError) as caught:
            heard.extend(call)
        error: grpc.Call = caught.value  # pyright: ignore[reportAssignmentType]
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        if heard:  # one that was over before it began has nothing to end
            assert until(partial(has_ended, folder, words))
            break
    assert heard
    assert until(server.is_idle)


@pytest.mark.parametrize("name", ENDLESS_ONES)
def test_a_client_that_does_not_read_holds_its_generation_back(
    channel: grpc.Channel, tmp_path: Path, name: str
) -> None:
    made = tmp_path / "made"
    with Stream(channel, told(name, tmp_path)) as stream:
        stream.answer()
        assert rests(made)
        held = made.stat().st_size
        for _ in range(held):
            stream.answer()
        assert until(lambda: made.stat().st_size > held)
    count = tmp_path / "count"
    assert until(count.exists)
    assert until(count.read_text) and int(count.read_text()) < 2 * MOST + held


def rests(made: Path) -> bool:
    """Whether no more than MOST are made; that is known after a while only."""
    size, since = 0, time.monotonic()
    while size <= MOST and time.monotonic() < since + RESTS_AFTER:
        if made.stat().st_size != size:
            size, since = made.stat().st_size, time.monotonic()
        time.sleep(POLL)
    return size <= MOST


@pytest.mark.parametrize("name", PATIENT_ONES)
def test_of_a_generation_the_first_list_is_the_answer_to_a_unary_request(
    channel: grpc.Channel, tmp_path: Path, name: str
) -> None:
    """As in OVMS, with a loop; and without, which is an error there."""
    for word in ("first", "second", "last"):
        (tmp_path / word).touch()
    request = told(name, tmp_path)
    request.parameters[TIMESTAMP].int64_param = 64
    answer = infer(channel, request)
    assert timestamp(answer) == 64
    assert bytes(arrays(answer)["out"]) == b"first"


def test_a_loop_that_generates_refuses_more_as_ovms_does(
    channel: grpc.Channel, tmp_path: Path
) -> None:
    with Stream(channel, told("endless_loop", tmp_path)) as stream:
        stream.answer()
        stream.send(told("endless_loop", tmp_path))
        with pytest.raises(grpc.RpcError) as caught:
            for _ in stream.rest():
                pass
    error: grpc.Call = caught.value  # pyright: ignore[reportAssignmentType]
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == (
        "Mediapipe execution failed. MP status - RESOURCE_EXHAUSTED: "
        "CalculatorGraph::Run() failed: Calculator::Process() for node "
        '"worker" failed: Node is already processing data. Create new stream for '
        "another request."
    )

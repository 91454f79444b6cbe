"""Policies of streams over the wire: what waits, is refused or gives way; what a stream may
ask for; when it ends; and answers that leave together.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import pytest

from tests.bench.streams import TWO_AT_A_TIME
from tests.python_nodes import site
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import Request, Stream, arrays, ask, floats, text, timestamp
from tests.wire.servers import Server, sample, serving
from tests.wire.waiting import ROUNDS, until

AGE: Final = 1.0  # seconds
IDLE: Final = 0.5
WHILE: Final = 3 * IDLE
FRAME: Final = np.ones((256, 256), np.float32)

# A handler in the server keeps the graph's thread, one in a process of its own does not.
INSIDE, ASIDE = "words", "aside"
PORTS: Final = {INSIDE: "word", ASIDE: "in"}

NARROW: Final[dict[str, Any]] = {
    "window": 2,
    "queue": 1,
    "idle_timeout_seconds": 60,
    "max_age_seconds": 600,
}
MORE: Final = {
    "WINDOW": (3, "an integer of at least 1 and at most 2"),
    "QUEUE": (2, "an integer of at least 0 and at most 1"),
    "IDLE_TIMEOUT_SECONDS": (61, "seconds above 0 and at most 60"),
    "MAX_AGE_SECONDS": (601, "seconds above 0 and at most 600"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("policies")
    zoo.add_graph(folder, INSIDE, zoo.words(), speaker=zoo.HANDLER)
    zoo.add_graph(folder, ASIDE, site.graph(options=site.PROCESS), handler=zoo.HANDLER)
    zoo.add_graph(folder, "narrow", zoo.ECHO)
    zoo.add_graph(folder, "together", zoo.GRAPHS["fan"])
    zoo.add_model(folder, "add_one", tiny.add_one((1, 10)))
    zoo.add_model(folder, "model", tiny.slow(steps=40, size=256))
    models = [
        zoo.entry("add_one"),
        zoo.entry("model", plugin_config=TWO_AT_A_TIME, nireq=4, stream={"window": 4}),
    ]
    graphs: list[dict[str, Any]] = [
        {"name": INSIDE},
        {"name": ASIDE},
        {"name": "narrow", "stream": NARROW},
        {"name": "together", "stream": {"coalesce": True}},
    ]
    with serving(zoo.write_config(folder, models, graphs)) as server:
        yield server


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel
    assert until(server.is_idle), "something is left in the server"


def say(name: str, word: str, number: int = 0, **policy: Any) -> Request:
    """A request with the number as its id. `policy` is what a first one asks for."""
    asked = {f"OVMS_MP_{key.upper()}": value for key, value in policy.items()}
    inputs = {PORTS[name]: text(word)}
    return ask(name, inputs, id=str(number), parameters=asked)


def accepted(server: Server, name: str) -> float:
    """Requests of streams that have entered the graph."""
    labels = {"api": "KServe", "interface": "gRPC", "method": "ModelInferStream"}
    page = server.app.metrics.render().decode()
    return sample(page, "ovms_requests_accepted", {**labels, "name": name}) or 0


class Reader:
    """Reads a stream in a thread of its own, for tests that write meanwhile."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.answered: list[str] = []
        """Ids."""
        self.refused: dict[str, str] = {}
        """Texts by ids."""
        self.end: tuple[str, str] | None = None
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            while True:
                message = self._stream.next()
                if message.error_message:
                    self.refused[message.infer_response.id] = message.error_message
                else:
                    self.answered.append(message.infer_response.id)
        except StopIteration:
            self.end = ("OK", "")
        except grpc.RpcError as error:
            call: Any = error
            self.end = (call.code().name, call.details())

    def finish(self) -> tuple[str, str]:
        """With what the stream ends."""
        self._thread.join()
        assert self.end is not None
        return self.end


# What there is no room for


@pytest.mark.parametrize("name", [INSIDE, ASIDE])
@pytest.mark.parametrize("window", [1, 2, None])
def test_a_client_waits_for_room_in_the_window_and_loses_nothing(
    server: Server, channel: grpc.Channel, tmp_path: Path, name: str, window: int | None
) -> None:
    """By default. Without the window the graph takes them all."""
    count = 6
    before = accepted(server, name)
    most = before + (window or count)
    go = tmp_path / "go"
    asked = {} if window is None else {"window": window}
    with Stream(channel, say(name, f"until {go}", 0, **asked)) as stream:
        assert until(lambda: accepted(server, name) > before)
        stream.send(*(say(name, "word", number) for number in range(1, count)))
        if name == ASIDE:
            assert until(lambda: accepted(server, name) == most)
        # Another one's round trip later nothing more has entered.
        with Stream(channel, ask("narrow", {"in": floats(1)})) as other:
            other.answer()
        assert accepted(server, name) <= most
        go.touch()
        stream.half_close()
        assert [each.id for each in stream.rest()] == [*map(str, range(count))]


@pytest.mark.parametrize("name", [INSIDE, ASIDE])
@pytest.mark.parametrize("queue", [0, 2])
def test_a_request_too_many_is_rejected_at_once_with_its_id_and_takes_no_timestamp(
    channel: grpc.Channel, tmp_path: Path, name: str, queue: int
) -> None:
    go = tmp_path / "go"
    first = say(name, f"until {go}", window=1, overflow="reject", queue=queue)
    with Stream(channel, first) as stream:
        stream.send(*(say(name, "word", number) for number in range(1, 5)))
        for number in range(1 + queue, 5):
            refused = stream.next()
            assert refused.error_message == (
                f"Resource exhausted - the stream has 1 in flight and {queue} waiting; "
                "the request was rejected"
            )
            answer = refused.infer_response
            assert (answer.model_name, answer.id) == (name, str(number))
            assert answer.parameters["error_code"].string_param == "RESOURCE_EXHAUSTED"
        go.touch()
        ids = [stream.answer().id for _ in range(1 + queue)]
        assert ids == [*map(str, range(1 + queue))]
        stream.send(say(name, "word", 9))
        last = stream.answer()
        assert (last.id, timestamp(last)) == ("9", 1 + queue)
        stream.half_close()
        assert stream.end() == ("OK", "")


@pytest.mark.parametrize("name", [INSIDE, ASIDE])
def test_the_oldest_that_waits_gives_way_to_the_newest_whatever_the_graph_does(
    server: Server, channel: grpc.Channel, tmp_path: Path, name: str
) -> None:
    go = tmp_path / "go"
    before = accepted(server, name)
    first = say(name, f"until {go}", window=1, overflow="drop_oldest", queue=2)
    with Stream(channel, first) as stream:
        assert until(lambda: accepted(server, name) > before)
        stream.send(*(say(name, "word", number) for number in range(1, 7)))
        refused = [stream.next() for _ in range(4)]
        assert [each.infer_response.id for each in refused] == ["1", "2", "3", "4"]
        go.touch()
        stream.half_close()
        answers = list(stream.rest())
    assert [each.id for each in answers] == ["0", "5", "6"]
    assert [timestamp(each) for each in answers] == [0, 1, 2]


# What a first request may ask for


@pytest.mark.parametrize("window", [1, 2])
def test_a_first_request_narrows_the_window_of_a_model(
    server: Server, channel: grpc.Channel, window: int
) -> None:
    compiled = server.compiled("model")
    first = ask("model", {"x": FRAME}, parameters={"OVMS_MP_WINDOW": window})
    seen: set[int] = set()
    for _ in range(ROUNDS):  # of a machine that does not let one look, too
        with Stream(channel, first, *[ask("model", {"x": FRAME})] * 11) as stream:
            reader = Reader(stream)
            stream.half_close()

            def is_over(reader: Reader = reader) -> bool:
                seen.add(compiled.busy)
                return reader.end is not None

            assert until(is_over, within=60)
            assert reader.finish() == ("OK", "")
        assert len(reader.answered) == 12
        if max(seen) == window:
            break
    assert max(seen) == window


@pytest.mark.parametrize("name", MORE)
def test_a_first_request_gets_no_more_than_the_config_gives(
    channel: grpc.Channel, name: str
) -> None:
    value, expected = MORE[name]
    parameter = f"OVMS_MP_{name}"
    refused = ask("narrow", {"in": floats(1)}, parameters={parameter: value})
    with Stream(channel, refused) as stream:
        assert stream.end() == (
            "INVALID_ARGUMENT",
            f"Invalid stream parameter - {parameter}: expected {expected}, got {value}",
        )
    most = ask("narrow", {"in": floats(1)}, parameters={parameter: value - 1})
    with Stream(channel, most) as stream:
        assert timestamp(stream.answer()) == 0


# When a stream ends


@pytest.mark.parametrize("name", [ASIDE, "model"])
def test_a_stream_that_is_too_old_takes_no_more_sends_what_it_has_and_ends(
    channel: grpc.Channel, tmp_path: Path, name: str
) -> None:
    said = f"Deadline exceeded - the stream is older than {AGE:g} s (max_age_seconds)"
    go = tmp_path / "go"

    def request(number: int, **parameters: float) -> Request:
        inputs = {"in": text(f"until {go}")} if name == ASIDE else {"x": FRAME}
        return ask(name, inputs, id=str(number), parameters=parameters)

    with Stream(channel, request(0, OVMS_MP_MAX_AGE_SECONDS=AGE)) as stream:
        reader = Reader(stream)

        def is_told() -> bool:
            return bool(reader.refused or reader.end)

        count = 1
        while not until(is_told, within=AGE / 50) and count < 400:
            stream.send(request(count))
            count += 1
        go.touch()
        assert reader.finish() == ("DEADLINE_EXCEEDED", said)
    assert reader.answered == [*map(str, range(len(reader.answered)))]
    assert set(reader.refused.values()) <= {said}
    if name == ASIDE:  # a model is done before it can refuse anybody
        assert min(map(int, reader.refused)) == len(reader.answered)


def test_a_stream_is_not_idle_while_its_graph_works_and_ends_when_it_is(
    channel: grpc.Channel, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with Stream(
        channel, say(ASIDE, f"until {go}", idle_timeout_seconds=IDLE)
    ) as stream:
        reader = Reader(stream)
        assert not until(lambda: reader.end, within=WHILE)
        go.touch()
        assert reader.finish() == (
            "DEADLINE_EXCEEDED",
            f"Deadline exceeded - nothing happened on the stream for {IDLE:g} s "
            "(idle_timeout_seconds)",
        )
        assert reader.answered == ["0"]


# Answers that leave together


def test_by_the_config_all_outputs_of_a_timestamp_are_one_response_in_order(
    channel: grpc.Channel,
) -> None:
    """One of the two comes from a model and is later: those before it wait for it."""
    requests = [
        ask("together", {"in": floats(*[number] * 10)}, id=str(number))
        for number in range(50)
    ]
    with Stream(channel, *requests) as stream:
        stream.half_close()
        answers = list(stream.rest())
    assert [(each.id, timestamp(each)) for each in answers] == [
        (str(number), number) for number in range(50)
    ]
    for number, answer in enumerate(answers):
        found = {name: value[0][0] for name, value in arrays(answer).items()}
        assert found == {"same": number, "more": number + 1}


def test_a_first_request_may_have_outputs_one_by_one_where_the_config_has_them_together(
    channel: grpc.Channel,
) -> None:
    apart = ask(
        "together",
        {"in": floats(*range(10))},
        parameters={"OVMS_MP_COALESCE": False},
    )
    with Stream(channel, apart) as stream:
        names = [[*arrays(stream.answer())] for _ in range(2)]
    assert sorted(names) == [["more"], ["same"]]

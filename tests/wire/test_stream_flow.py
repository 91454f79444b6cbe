"""One stream has several frames on their way, in order; its deadline reaches all of
them; policies over the wire.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import repeat
from typing import Any

import grpc
import numpy as np
import pytest
from ovms_mp_protos import kserve

from tests.bench.streams import HANDLER, TWO_AT_A_TIME, pipeline
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import Stream, arrays, ask, floats, status_of, timestamp
from tests.wire.servers import Server, serving
from tests.wire.waiting import ROUNDS, until

# The promise is a second; a machine that has other work makes no law untrue.
AT_ONCE = 5.0
SIDE = 256


@pytest.fixture(scope="module")
def flowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("flow")
    zoo.add_graph(folder, "pipeline", pipeline(), tanh=HANDLER)
    zoo.add_graph(folder, "words", zoo.words(), speaker=zoo.HANDLER)
    zoo.add_graph(folder, "echo", zoo.ECHO)
    zoo.add_graph(folder, "fan", zoo.GRAPHS["fan"])
    zoo.add_model(folder, "model", tiny.slow(steps=300, size=SIDE))
    zoo.add_model(folder, "add_one", tiny.add_one((1, 10)))
    models = [
        zoo.entry("model", plugin_config=TWO_AT_A_TIME, nireq=4, stream={"window": 4}),
        zoo.entry("add_one"),
    ]
    graphs: list[dict[str, Any]] = [
        {"name": "pipeline"},
        {"name": "words", "stream": {"window": 1, "overflow": "drop_oldest"}},
        {"name": "echo", "stream": {"max_streams": 2, "idle_timeout_seconds": 3}},
        {"name": "fan"},
    ]
    with serving(zoo.write_config(folder, models, graphs)) as server:
        yield server


@pytest.fixture
def channel(flowing: Server) -> Iterator[grpc.Channel]:
    with flowing.connect() as channel:
        yield channel
    assert until(flowing.is_idle), "something is left in the server"


def frame(value: float) -> np.ndarray:
    return np.full((SIDE, SIDE), value, np.float32)


@pytest.mark.parametrize(
    ("name", "source", "target"), [("pipeline", "frame", "out"), ("model", "x", "y")]
)
def test_frames_of_one_stream_are_inferred_beside_each_other_and_leave_in_order(
    flowing: Server, channel: grpc.Channel, name: str, source: str, target: str
) -> None:
    values = [-1.0, -0.5, 0.5, 1.0, 2.0, 3.0]
    requests = [ask(name, {source: frame(value)}) for value in values]
    compiled = flowing.compiled("model")
    is_seen = False
    for _ in range(ROUNDS):  # of a machine that does not let one look, too
        with Stream(channel, *requests) as stream:
            # The first is not answered yet.
            is_seen = until(lambda: compiled.busy >= 2)
            stream.half_close()
            answers = list(stream.rest())
        assert [timestamp(each) for each in answers] == list(range(len(values)))
        middle = [arrays(each)[target][0][0] for each in answers]
        assert middle == sorted(middle)
        assert middle[0] < 0 < middle[-1]
        if is_seen:
            break
    assert is_seen


@pytest.mark.parametrize(("name", "source"), [("pipeline", "frame"), ("model", "x")])
def test_the_deadline_of_a_stream_ends_what_is_inferred_and_what_waits(
    flowing: Server, channel: grpc.Channel, name: str, source: str
) -> None:
    messages = repeat(ask(name, {source: frame(1)}).SerializeToString())
    method: Any = channel.stream_stream(kserve.MODEL_STREAM_INFER)
    seconds, is_seen = 0.3, False
    while not is_seen:  # a machine may be too busy for that
        seconds *= 2
        call = method(messages, timeout=seconds)
        is_seen = until(lambda: flowing.busy_slots() >= 1, within=seconds)
        assert status_of(partial(list, call))[0] == "DEADLINE_EXCEEDED"
    assert until(flowing.is_idle, within=AT_ONCE)
    assert flowing.compiled("model").waiting == 0


def test_live_video_drops_what_is_too_old(channel: grpc.Channel) -> None:
    slow = np.frombuffer(b"sleep 0.2", np.uint8)
    requests = [ask("words", {"word": slow}, id=str(n)) for n in range(6)]
    with Stream(channel, *requests) as stream:
        stream.half_close()
        messages = list(rest(stream))
    refused = [each for each in messages if each.error_message]
    answered = [each.infer_response.id for each in messages if not each.error_message]
    assert answered == sorted(answered) and answered[-1] == "5"
    ids = [each.infer_response.id for each in refused]
    assert sorted(ids + answered) == [str(n) for n in range(6)] and refused
    for each in refused:
        code = each.infer_response.parameters["error_code"].string_param
        assert code == "RESOURCE_EXHAUSTED"
        assert each.error_message.endswith("the request gave way to a newer one")


def rest(stream: Stream) -> Iterator[kserve.ModelStreamInferResponse]:
    while True:
        try:
            yield stream.next()
        except StopIteration:
            return


def test_one_stream_too_many_is_told_so_and_silence_makes_room(
    channel: grpc.Channel,
) -> None:
    request = ask("echo", {"in": floats(1)})
    with Stream(channel, request) as one, Stream(channel, request) as two:
        one.answer()
        two.answer()
        with Stream(channel, request) as third:
            assert third.end() == (
                "RESOURCE_EXHAUSTED",
                'Resource exhausted - "echo" has 2 streams open (max_streams)',
            )
        # A client that says nothing is told, and makes room.
        code, text = one.end()
    assert code == "DEADLINE_EXCEEDED"
    assert text.endswith("for 3 s (idle_timeout_seconds)")


def test_a_first_request_asks_for_all_outputs_in_one_response(
    channel: grpc.Channel,
) -> None:
    first = ask(
        "fan",
        {"in": floats(*range(10))},
        parameters={"OVMS_MP_COALESCE": True},
        id="both",
    )
    with Stream(channel, first) as stream:
        answer = stream.answer()
        assert set(arrays(answer)) == {"same", "more"} and answer.id == "both"


def test_a_first_request_that_asks_for_too_much_ends_its_stream(
    channel: grpc.Channel,
) -> None:
    wide = ask("model", {"x": frame(1)}, parameters={"OVMS_MP_WINDOW": 5})
    with Stream(channel, wide) as stream:
        assert stream.end() == (
            "INVALID_ARGUMENT",
            "Invalid stream parameter - OVMS_MP_WINDOW: "
            "expected an integer of at least 1 and at most 4, got 5",
        )

"""Laws of stateful models as OVMS has them over TensorFlow Serving's API, here over
KServe: the special inputs are parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from ovms_mp.settings import settings_from
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import Answer, Request, Status, arrays, ask, infer, refusal
from tests.wire.servers import Server, serving
from tests.wire.waiting import until

STEP = np.ones((1, 1, 4), np.float32)


def said(parameters: dict[str, object], model: str = "loop") -> Request:
    return ask(model, {"x": STEP}, parameters=parameters)  # pyright: ignore[reportArgumentType]  # wrong ones, too


def step(
    name: int | str | None = None, *, start: bool = False, end: bool = False
) -> Request:
    """One step of a sequence."""
    about: dict[str, object] = {"sequence_start": start, "sequence_end": end}
    return said(about if name is None else {**about, "sequence_id": name})


def total(answer: Answer) -> float:
    return arrays(answer)["y"][0][0][0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("loops")
    zoo.add_model(folder, "loop", tiny.looped())
    zoo.add_model(folder, "plain", tiny.looped())
    keys = {"stateful": True, "low_latency_transformation": True}
    entries = [
        zoo.entry("loop", **keys, max_sequence_number=3),
        zoo.entry("plain", stateful=True),
    ]
    with serving(zoo.write_config(folder, entries)) as served:
        yield served


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as opened:
        yield opened


def test_a_loop_is_a_sequence_from_its_start_to_its_end(channel: grpc.Channel) -> None:
    requests = [step(7, start=True), step(7), step(7, end=True)]
    answers = [infer(channel, each) for each in requests]
    assert [total(each) for each in answers] == [1, 2, 3]
    # On every answer, that of the end, too.
    assert [each.parameters["sequence_id"].int64_param for each in answers] == [7] * 3


def test_one_that_starts_after_another_has_ended_begins_anew(
    channel: grpc.Channel,
) -> None:
    for _ in range(2):
        assert total(infer(channel, step(8, start=True))) == 1
        assert total(infer(channel, step(8, end=True))) == 2


def test_a_start_without_an_id_is_given_one(channel: grpc.Channel) -> None:
    answer = infer(channel, step(start=True))
    name = answer.parameters["sequence_id"].int64_param
    assert name != 0
    assert total(infer(channel, step(name, end=True))) == 2


def test_a_request_of_no_sequence_begins_anew(channel: grpc.Channel) -> None:
    assert [total(infer(channel, step(name))) for name in (None, 0, None)] == [1] * 3


MISSING: Status = ("NOT_FOUND", "Sequence with provided ID does not exist")
NO_ID = "Sequence ID has not been provided in request inputs"
CONTROL = "Unexpected value of sequence control input"
BAD_ID = "Could not find sequence id in expected tensor proto field uint64_val"


@pytest.mark.parametrize(
    ("parameters", "code", "text"),
    [
        ({"sequence_id": 99}, *MISSING),
        ({"sequence_id": 99, "sequence_end": True}, *MISSING),
        ({"sequence_end": True}, "INVALID_ARGUMENT", NO_ID),
        ({"sequence_id": 0, "sequence_end": True}, "INVALID_ARGUMENT", NO_ID),
        ({"sequence_id": 1.5}, "INVALID_ARGUMENT", BAD_ID),
        ({"sequence_id": True}, "INVALID_ARGUMENT", BAD_ID),
        ({"sequence_id": 5, "sequence_start": 3}, "INVALID_ARGUMENT", CONTROL),
        ({"sequence_id": 5, "sequence_end": "yes"}, "INVALID_ARGUMENT", CONTROL),
    ],
)
def test_what_cannot_be_is_refused_in_ovms_words(
    channel: grpc.Channel, parameters: dict[str, object], code: str, text: str
) -> None:
    found = refusal(channel, said(parameters))
    assert (found[0], found[1].split(" - ")[0]) == (code, text)


def test_a_sequence_that_is_there_is_not_started_again(channel: grpc.Channel) -> None:
    infer(channel, step("twice", start=True))
    exists = ("ALREADY_EXISTS", "Sequence with provided ID already exists")
    assert refusal(channel, step("twice", start=True)) == exists
    assert total(infer(channel, step("twice", end=True))) == 2


def test_that_there_are_too_many_is_said_before_anything_else(
    channel: grpc.Channel,
) -> None:
    for name in (1, 2, 3):
        infer(channel, step(name, start=True))
    full = "Max sequence number has been reached. Could not create new sequence."
    for request in (step(4, start=True), step(1, start=True), step(start=True)):
        assert refusal(channel, request) == ("UNAVAILABLE", full)
    for name in (1, 2, 3):
        assert total(infer(channel, step(name, end=True))) == 2


def test_inputs_are_judged_before_a_sequence_is_touched(channel: grpc.Channel) -> None:
    wrong = ask(
        "loop",
        {"x": np.ones((1, 2, 4), np.float32)},
        parameters={"sequence_id": 6, "sequence_start": True},
    )
    assert refusal(channel, wrong)[0] == "INVALID_ARGUMENT"
    assert refusal(channel, step(6)) == MISSING


def test_a_model_that_is_said_to_be_stateful_and_is_not_is_told_of_in_the_log(
    server: Server, channel: grpc.Channel
) -> None:
    assert server.said("plain is said to be stateful, but has no state")
    answers = [infer(channel, said({}, "plain")) for _ in range(2)]
    assert [total(each) for each in answers] == [1, 1]


def test_flags_say_the_same_of_a_single_model(tmp_path: Path) -> None:
    home = zoo.add_model(tmp_path, "loop", tiny.looped())
    flags = {"stateful": "true", "low_latency_transformation": "true"}
    given = {"model_name": "loop", "model_path": str(home), **flags}
    with (
        serving(settings_from(given).source) as server,
        server.connect() as channel,
    ):
        assert total(infer(channel, step(1, start=True))) == 1
        assert total(infer(channel, step(1, end=True))) == 2


def test_a_model_that_is_loaded_again_has_forgotten_its_sequences(
    tmp_path: Path,
) -> None:
    zoo.add_model(tmp_path, "loop", tiny.looped())
    keys = {"stateful": True, "low_latency_transformation": True}
    config = zoo.write_config(tmp_path, [zoo.entry("loop", **keys)])
    with serving(config) as server, server.connect() as channel:
        infer(channel, step(1, start=True))
        zoo.write_config(tmp_path, [zoo.entry("loop", **keys, nireq=1)])
        assert until(lambda: refusal(channel, step(1)) == MISSING, within=30)
        assert total(infer(channel, step(1, start=True))) == 1


def test_a_model_becomes_stateful_and_stateless_again_as_its_config_says(
    tmp_path: Path,
) -> None:
    """OVMS refuses the change."""
    zoo.add_model(tmp_path, "loop", tiny.looped())
    keys = {"stateful": True, "low_latency_transformation": True}
    config = zoo.write_config(tmp_path, [zoo.entry("loop")])
    with serving(config) as server, server.connect() as channel:
        for more in (keys, {}, keys):
            zoo.write_config(tmp_path, [zoo.entry("loop", **more)])
            wanted = bool(more)
            assert until(
                lambda wanted=wanted: server.compiled("loop").is_stateful is wanted,
                within=30,
            )
            answer = infer(channel, step(1, start=True))
            assert ("sequence_id" in answer.parameters) is wanted

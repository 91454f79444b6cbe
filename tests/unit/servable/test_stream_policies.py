"""Laws of the policies of a stream: each keeps its promise, and says so when it acts."""

from __future__ import annotations

import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferResponse
from ovms_mp.core.stream_policy import MAX_QUEUE, Overflow, StreamPolicy
from ovms_mp.servable.base import StreamSession
from ovms_mp.servable.session import GraphSession
from tests.unit.graph.support import Later
from tests.unit.servable.support import Client, request, serve, tensor, values
from tests.wire.waiting import until

PASS = 'input_stream: "in" output_stream: "out" node { calculator: "PassThrough" input_stream: "in" output_stream: "out" }'
TWO = 'input_stream: "a" input_stream: "b" output_stream: "x" output_stream: "y" node { calculator: "PassThrough" input_stream: "a" input_stream: "b" output_stream: "x" output_stream: "y" }'
LATER = 'input_stream: "in" output_stream: "out" node { calculator: "Later" input_stream: "in" output_stream: "out" }'
SILENT = 'input_stream: "in" output_stream: "out" node { calculator: "Silent" input_stream: "in" output_stream: "out" }'
# Two inputs that do not meet, and one output that ends at once.
APART = 'input_stream: "a" input_stream: "b" output_stream: "x" output_stream: "y" node { calculator: "PassThrough" input_stream: "a" output_stream: "x" } node { calculator: "Later" input_stream: "b" output_stream: "y" }'

GENEROUS = 30.0  # seconds that a busy machine may need
SERIAL = 5


def opened(text, *inputs, policy=None, **more) -> tuple[Client, StreamSession]:
    client = Client()
    servable = serve(text, **(policy or {}))
    return client, servable.open_stream(request(*inputs, **more), client)


def send(client: Client, session: StreamSession, count: int, first: int = 1) -> None:
    """Requests with ids, as the client may send them."""
    for number in range(first, first + count):
        session.feed(request(tensor("in", [number]), id=str(number)))


def answer_all() -> None:
    """Have the node Later answer what it holds."""
    left, Later.left = Later.left, []
    for payload, pending in left:
        pending.complete(payload)


class Serial(Client):
    """Asks SERIAL times, each time as soon as it has the answer."""

    session: StreamSession

    def response(self, response: InferResponse) -> None:
        super().response(response)
        count = len(self.responses)
        if count < SERIAL:
            self.session.feed(request(tensor("in", [count]), id=str(count)))


# window


def test_a_window_keeps_the_client_waiting_until_an_answer_has_left():
    client, session = opened(LATER, tensor("in", [0]), policy={"window": 2})
    assert client.rooms == 1
    send(client, session, 1)
    assert client.rooms == 1  # two are on their way
    answer_all()
    assert client.rooms == 2


def test_without_a_window_the_graph_itself_says_what_it_takes():
    client, session = opened(LATER, tensor("in", [0]))
    send(client, session, 2)
    assert client.rooms == 3


def test_requests_that_a_graph_drops_do_not_fill_the_window_for_ever():
    client, session = opened(SILENT, tensor("in", [0]), policy={"window": 1})
    send(client, session, 5)
    assert client.rooms == 6 and client.responses == []


def test_a_part_that_waits_for_its_partner_does_not_fill_the_window():
    client, session = opened(TWO, tensor("a", [1]), policy={"window": 1})
    assert client.rooms == 1
    session.feed(request(tensor("b", [2]), parameters={"OVMS_MP_TIMESTAMP": 0}))
    assert client.told == [(0, {"x": [1.0]}), (0, {"y": [2.0]})]


# queue and overflow


def test_a_queue_takes_requests_before_the_window_has_room_for_them():
    policy = {"window": 1, "queue": 2}
    client, session = opened(LATER, tensor("in", [0]), policy=policy)
    send(client, session, 2)
    assert client.rooms == 2 and len(Later.left) == 1
    for _ in range(3):
        answer_all()
    assert [timestamp for timestamp, _ in client.told] == [0, 1, 2]
    assert client.errors == [] and client.rooms == 3


def test_a_request_too_many_is_rejected_with_its_id_and_the_stream_goes_on():
    policy = {"window": 1, "queue": 1, "overflow": Overflow.REJECT}
    client, session = opened(LATER, tensor("in", [0]), policy=policy)
    send(client, session, 3)
    assert client.refused == ["2", "3"]
    assert client.errors[0] == (
        "Resource exhausted - the stream has 1 in flight and 1 waiting; "
        "the request was rejected"
    )
    assert client.rooms == 4  # a client that is refused may always ask
    answer_all()
    answer_all()
    assert [value["out"] for _, value in client.told] == [[0.0], [1.0]]


def test_the_oldest_gives_way_to_the_newest_so_that_live_video_is_live():
    policy = {"window": 1, "overflow": Overflow.DROP_OLDEST}
    client, session = opened(LATER, tensor("in", [0]), policy=policy)
    send(client, session, 5)
    assert client.refused == ["1", "2", "3", "4"]
    assert client.errors[0] == (
        "Resource exhausted - the stream has 1 in flight and 1 waiting; "
        "the request gave way to a newer one"
    )
    answer_all()
    answer_all()
    # Who gave way took no timestamp.
    assert client.told == [(0, {"out": [0.0]}), (1, {"out": [5.0]})]


@pytest.mark.parametrize("overflow", [Overflow.REJECT, Overflow.DROP_OLDEST])
@pytest.mark.parametrize("coalesce", [False, True])
def test_who_waits_for_each_answer_always_finds_room(overflow, coalesce):
    """The next request may be there before the graph knows that the answer has left."""
    policy = {"window": 1, "queue": 0, "overflow": overflow, "coalesce": coalesce}
    client = Serial()
    client.session = serve(PASS, **policy).open_stream(request(), client)
    client.session.feed(request(tensor("in", [0]), id="0"))
    assert client.refused == []
    assert [each.id for each in client.responses] == [*map(str, range(SERIAL))]


def test_what_waits_enters_after_a_half_close():
    policy = {"window": 1, "queue": 5}
    client, session = opened(LATER, tensor("in", [0]), policy=policy)
    send(client, session, 3)
    session.half_close()
    for _ in range(4):
        assert client.ends == []
        answer_all()
    assert [timestamp for timestamp, _ in client.told] == [0, 1, 2, 3]
    assert client.ends == [None]


def test_a_graph_that_fails_with_requests_waiting_ends_its_stream():
    policy = {"window": 1, "queue": 5}
    client, session = opened(LATER, tensor("in", [0]), policy=policy)
    send(client, session, 3)
    Later.left[0][1].fail(ValueError("no"))
    assert len(client.ends) == 1 and client.ends[0] is not None


def test_a_later_request_for_another_servable_is_refused_before_it_waits():
    policy = {"window": 1, "queue": 1}
    client, session = opened(LATER, tensor("in", [0]), policy=policy)
    session.feed(request(name="other", id="x"))
    assert client.refused == ["x"] and client.rooms == 2


# idle time-out and maximum age


def test_a_silent_stream_is_ended_and_told_why():
    client, _ = opened(PASS, tensor("in", [0]), policy={"idle_timeout_seconds": 0.05})
    assert client.over.wait(GENEROUS)
    (end,) = client.ends
    assert end is not None and end.text == (
        "Deadline exceeded - nothing happened on the stream for 0.05 s "
        "(idle_timeout_seconds)"
    )


def test_a_stream_whose_graph_works_is_not_idle():
    policy = {"idle_timeout_seconds": 0.02}
    client, _ = opened(LATER, tensor("in", [0]), policy=policy)
    assert not client.over.wait(0.2)
    answer_all()
    assert client.over.wait(GENEROUS) and len(client.told) == 1


def test_a_stream_that_is_too_old_takes_no_more_and_lets_out_what_it_has():
    policy = {"max_age_seconds": 0.05}
    client, session = opened(LATER, tensor("in", [0]), policy=policy)
    assert isinstance(session, GraphSession)
    assert until(lambda: session._is_closing)  # it is that old
    assert not client.over.is_set()
    send(client, session, 1)
    text = "Deadline exceeded - the stream is older than 0.05 s (max_age_seconds)"
    assert client.errors == [text] and client.refused == ["1"]
    answer_all()
    assert client.over.wait(GENEROUS)
    (end,) = client.ends
    assert client.told == [(0, {"out": [0.0]})]
    assert end is not None and end.text == text


# maximum streams


def test_one_stream_too_many_is_refused_until_another_ends():
    servable = serve(PASS, max_streams=2)
    sessions = [servable.open_stream(request(), Client()) for _ in range(2)]
    with pytest.raises(ServingError) as refused:
        servable.open_stream(request(), Client())
    assert refused.value.status is Status.RESOURCE_EXHAUSTED
    assert refused.value.details == '"g" has 2 streams open (max_streams)'
    for end in (sessions[0].cancel, sessions[1].half_close):
        end()
        sessions.append(servable.open_stream(request(), Client()))
    with pytest.raises(ServingError):
        servable.open_stream(request(), Client())


def test_a_stream_that_cannot_be_opened_is_not_counted():
    servable = serve(PASS, max_streams=1)
    for _ in range(2):
        with pytest.raises(ServingError, match="OVMS_MP_WINDOW"):
            servable.open_stream(request(parameters={"OVMS_MP_WINDOW": 0}), Client())
    servable.open_stream(request(), Client())


# coalescing


def test_outputs_of_one_timestamp_are_one_response_with_the_id():
    client, session = opened(
        TWO, tensor("a", [1]), tensor("b", [2]), policy={"coalesce": True}, id="7"
    )
    session.feed(request(tensor("b", [4]), tensor("a", [3]), id="8"))
    assert [(each.id, values(each)) for each in client.responses] == [
        ("7", {"x": [1.0], "y": [2.0]}),
        ("8", {"x": [3.0], "y": [4.0]}),
    ]


def test_a_response_waits_for_the_last_output_of_its_timestamp():
    client, session = opened(
        APART, tensor("a", [1]), tensor("b", [2]), policy={"coalesce": True}
    )
    session.feed(request(tensor("a", [3]), tensor("b", [4])))
    assert client.responses == []
    left, Later.left = Later.left, []
    left[1][1].complete(left[1][0])
    assert client.responses == []  # the first is still on its way
    left[0][1].complete(left[0][0])
    assert client.told == [
        (0, {"x": [1.0], "y": [2.0]}),
        (1, {"x": [3.0], "y": [4.0]}),
    ]


def test_what_is_incomplete_leaves_at_the_end():
    client, session = opened(TWO, tensor("a", [1]), policy={"coalesce": True})
    session.half_close()
    assert client.told == [(0, {"x": [1.0]})] and client.ends == [None]


# what a first request may ask for


def asked(policy: StreamPolicy, **parameters: object) -> StreamPolicy:
    return policy.narrowed({f"OVMS_MP_{k}": v for k, v in parameters.items()})  # pyright: ignore[reportArgumentType]


def test_a_first_request_may_ask_for_less_of_everything():
    policy = StreamPolicy(8, 4, Overflow.WAIT, 60, 600, 10)
    narrowed = asked(
        policy,
        WINDOW=2,
        QUEUE=0,
        OVERFLOW="reject",
        IDLE_TIMEOUT_SECONDS=5,
        MAX_AGE_SECONDS=0.5,
        COALESCE=True,
    )
    expected = StreamPolicy(2, 0, Overflow.REJECT, 5, 0.5, 10, coalesce=True)
    assert narrowed == expected


def test_where_the_config_says_nothing_a_first_request_may_say_it():
    narrowed = asked(StreamPolicy(), WINDOW=9, QUEUE=MAX_QUEUE, MAX_AGE_SECONDS=9.5)
    assert narrowed == StreamPolicy(9, MAX_QUEUE, max_age_seconds=9.5)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("WINDOW", 9, "expected an integer of at least 1 and at most 8, got 9"),
        ("WINDOW", 0, "expected an integer of at least 1 and at most 8, got 0"),
        ("WINDOW", True, "expected an integer of at least 1 and at most 8, got True"),
        ("QUEUE", 5, "expected an integer of at least 0 and at most 4, got 5"),
        ("QUEUE", "4", "expected an integer of at least 0 and at most 4, got '4'"),
        ("OVERFLOW", "drop", "expected one of wait, reject, drop_oldest, got 'drop'"),
        ("IDLE_TIMEOUT_SECONDS", 61, "expected seconds above 0 and at most 60, got 61"),
        ("MAX_AGE_SECONDS", 0, "expected seconds above 0 and at most 600, got 0"),
        (
            "MAX_AGE_SECONDS",
            float("nan"),
            "expected seconds above 0 and at most 600, got nan",
        ),
        ("COALESCE", 1, "expected a bool, got 1"),
    ],
)
def test_a_first_request_that_asks_for_more_is_told_what_it_may_have(name, value, text):
    policy = StreamPolicy(8, 4, Overflow.WAIT, 60, 600, 10)
    with pytest.raises(ServingError) as refused:
        asked(policy, **{name: value})
    assert refused.value.text == f"Invalid stream parameter - OVMS_MP_{name}: {text}"


def test_a_queue_without_a_limit_in_the_config_has_one():
    with pytest.raises(ServingError, match=f"at most {MAX_QUEUE}"):
        asked(StreamPolicy(), QUEUE=MAX_QUEUE + 1)


def test_the_parameters_of_a_policy_are_no_side_packets():
    client, session = opened(LATER, parameters={"OVMS_MP_WINDOW": 1})
    send(client, session, 1)
    assert client.rooms == 1 and client.ends == []

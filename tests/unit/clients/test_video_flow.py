"""Every frame is counted once: answered, dropped, or unanswered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from ovms_mp_clients.video.flow import Flow


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_the_summary_has_speed_and_latency_of_what_was_answered():
    clock = Clock()
    flow = Flow(clock)
    for number in range(3):
        flow.sent(number)
        clock.now += 0.1 * (number + 1)
        assert round(flow.answered(number) or 0, 6) == round(0.1 * (number + 1), 6)
    assert flow.summary() == (
        "3 frames, 5.0 frames/s, latency p50 200.0 ms, p99 298.0 ms"
    )


def test_the_summary_tells_of_losses_only_where_there_are_some():
    flow = Flow(Clock())
    assert flow.summary() == "no frames"
    flow.dropped()
    flow.sent(0)
    flow.sent(1)
    assert flow.lost() == 2
    assert flow.summary() == "no frames, 1 dropped, 2 unanswered, 1 times lost"


def test_a_second_answer_is_none():
    flow = Flow()
    flow.sent(0)
    assert flow.answered(0) is not None
    assert flow.answered(0) is None
    assert flow.answered_count == 1


@given(st.lists(st.sampled_from(["send", "answer", "skip", "lose"])))
def test_what_was_sent_is_answered_or_not_once_the_stream_is_over(acts):
    flow = Flow()
    waiting: list[int] = []
    for number, act in enumerate(acts):
        if act == "send":
            flow.sent(number)
            waiting.append(number)
        elif act == "lose":
            assert flow.lost() == len(waiting)
            waiting = []
        elif waiting:
            # A graph that skips frames answers a later one.
            index = 0 if act == "answer" else len(waiting) - 1
            flow.answered(waiting[index])
            waiting = waiting[index + 1 :]
    flow.ended()
    assert flow.sent_count == flow.answered_count + flow.unanswered_count

"""Sources: layers, throttling, deadlocks and cycles (calculator_graph_test)."""

from __future__ import annotations

import pytest

from tests.mediapipe.driver import Run, does

CYCLE = """
output_stream: "sum" input_side_packet: "counter"
node { calculator: "CountTogether" output_stream: "numbers"
  input_side_packet: "COUNTER:counter" }
node { calculator: "Add" input_stream: "numbers" input_stream: "old"
  output_stream: "sum" input_stream_info { tag_index: ":1" back_edge: true } %s }
node { calculator: "UnitDelay" input_stream: "sum" output_stream: "old" }
"""


def test_sources_run_layer_by_layer_and_in_turn_within_a_layer():
    run = Run(
        """
output_stream: "a" output_stream: "b" output_stream: "c" output_stream: "d"
input_side_packet: "counter"
node { calculator: "CountTogether" output_stream: "d"
  input_side_packet: "COUNTER:counter" source_layer: 2 }
node { calculator: "CountTogether" output_stream: "a"
  input_side_packet: "COUNTER:counter" source_layer: 0 }
node { calculator: "CountTogether" output_stream: "b"
  input_side_packet: "COUNTER:counter" source_layer: 1 }
node { calculator: "CountTogether" output_stream: "c"
  input_side_packet: "COUNTER:counter" source_layer: 1 }
""",
        counter=[0],
    )
    assert run.ended_well()
    assert run.values("a") == [0, 1, 2, 3, 4]
    for turn, pair in enumerate(zip(run.values("b"), run.values("c"), strict=True)):
        assert sorted(pair) == [5 + 2 * turn, 6 + 2 * turn]
    assert run.values("d") == [15, 16, 17, 18, 19]


def test_a_throttled_source_does_not_let_a_later_layer_begin():
    run = Run(
        """
max_queue_size: 1 output_stream: "first" output_stream: "second"
input_side_packet: "counter" input_side_packet: "early"
node { calculator: "CountTogether" output_stream: "first"
  input_side_packet: "COUNTER:counter" source_layer: 0 }
node { calculator: "CountTogether" output_stream: "late" source_layer: 1
  input_side_packet: "COUNTER:counter" input_side_packet: "EARLY:early" }
node { calculator: "Pass" input_stream: "late" output_stream: "second" }
""",
        counter=[0],
        early=True,
    )
    assert run.ended_well()
    assert run.values("second")[0] == 0
    assert run.values("first") == [1, 2, 3, 4, 5]
    assert run.values("second")[1:] == [6, 7, 8, 9]


def test_a_cycle_with_a_back_edge_sums_up_and_ends_with_its_source():
    early = (
        'input_stream_handler { input_stream_handler: "EarlyCloseInputStreamHandler" }'
    )
    run = Run(CYCLE % early, counter=[1])
    assert run.ended_well()
    assert run.told["sum"] == [(0, 1), (1, 3), (2, 6), (3, 10), (4, 15)]


def test_a_cycle_may_ignore_timestamps():
    handler = (
        'input_stream_handler { input_stream_handler: "BarrierInputStreamHandler" }'
    )
    run = Run(
        handler
        + """
output_stream: "sum" input_side_packet: "counter" input_side_packet: "do"
node { calculator: "CountTogether" output_stream: "numbers"
  input_side_packet: "COUNTER:counter" }
node { calculator: "PassWithoutOffset" input_stream: "numbers" output_stream: "same" }
node { calculator: "Does" input_stream: "same" input_stream: "old"
  output_stream: "sum" input_stream_info { tag_index: ":1" back_edge: true }
  input_side_packet: "DO:do" }
node { calculator: "DelayUntimed" input_stream: "sum" output_stream: "old" }
""",
        counter=[1],
        do=does(
            process=lambda node, ctx: ctx.send(
                node.outs[0], sum(ctx[each] for each in node.ins)
            )
        ),
    )
    assert run.ended_well()
    assert run.values("sum") == [1, 3, 6, 10, 15]


# y(n) = x(n) + 2 x(n-1) + 1.5 y(n-1) - 0.9 y(n-2)
RESPONSE = [1.0, 5.5, 14.35, 26.575, 39.9475]
EARLY = 'input_stream_handler { input_stream_handler: "EarlyCloseInputStreamHandler" }'


def scale(stream: str, by: str, to: str) -> str:
    return (
        f'node {{ calculator: "Scale" input_stream: "{stream}" output_stream: "{to}" '
        f'input_side_packet: "{by}" }} input_side_packet: "{by}" '
    )


def delay(stream: str, to: str) -> str:
    return (
        f'node {{ calculator: "UnitDelay" input_stream: "{stream}" '
        f'output_stream: "{to}" }} '
    )


def add(first: str, second: str, to: str, *, loops: bool = False) -> str:
    info = 'input_stream_info { tag_index: ":1" back_edge: true } ' if loops else ""
    return (
        f'node {{ calculator: "Add" input_stream: "{first}" input_stream: "{second}" '
        f'output_stream: "{to}" {info} {EARLY} }} '
    )


SOURCE = """
output_stream: "y" input_side_packet: "counter"
node { calculator: "CountTogether" output_stream: "x"
  input_side_packet: "COUNTER:counter" }
"""
FORM_1 = (
    SOURCE
    + delay("x", "x1")
    + scale("x1", "b1", "bx")
    + add("x", "bx", "fed")
    + add("fed", "back", "y", loops=True)
    + delay("y", "y1")
    + delay("y1", "y2")
    + scale("y1", "a1", "ay1")
    + scale("y2", "a2", "ay2")
    + add("ay1", "ay2", "back")
)
FORM_2 = (
    SOURCE
    + add("x", "back", "w", loops=True)
    + delay("w", "w1")
    + delay("w1", "w2")
    + scale("w1", "a1", "aw1")
    + scale("w2", "a2", "aw2")
    + add("aw1", "aw2", "back")
    + scale("w1", "b1", "bw1")
    + add("w", "bw1", "y")
)


@pytest.mark.parametrize(
    "form", [FORM_1, FORM_2], ids=["direct form 1", "direct form 2"]
)
def test_a_recursive_filter_is_a_graph_with_two_cycles(form):
    run = Run(form, counter=[1], a1=1.5, a2=-0.9, b1=2.0)
    assert run.ended_well()
    assert run.values("y")[:5] == pytest.approx(RESPONSE)
    assert run.times("y") == list(range(5))


@pytest.mark.parametrize("form", [FORM_1, FORM_2])
def test_a_recursive_filter_does_not_change_with_the_order_of_its_nodes(form):
    head, *nodes = form.split("node {")
    text = head + "".join("node {" + each for each in reversed(nodes))
    run = Run(text, counter=[1], a1=1.5, a2=-0.9, b1=2.0)
    assert run.ended_well() and run.values("y") == pytest.approx(RESPONSE)


def test_streams_of_different_rates_are_joined_by_time():
    # The packets of every third timestamp, and of those in between, added up again.
    run = Run(
        """
output_stream: "sum" input_side_packet: "to" input_side_packet: "thirds"
input_side_packet: "others"
node { calculator: "CountUp" output_stream: "all" input_side_packet: "TO:to" }
node { calculator: "DoesWithOffset" input_stream: "all" output_stream: "third"
  input_side_packet: "DO:thirds" }
node { calculator: "DoesWithOffset" input_stream: "all" output_stream: "other"
  input_side_packet: "DO:others" }
node { calculator: "Add" input_stream: "third" input_stream: "other"
  output_stream: "sum" }
""",
        to=15,
        thirds=does(
            process=lambda node, ctx: (
                ctx.timestamp % 3 == 0 and ctx.send(node.outs[0], 10 * ctx.timestamp)
            )
        ),
        others=does(
            process=lambda node, ctx: (
                ctx.timestamp % 3 and ctx.send(node.outs[0], ctx.timestamp)
            )
        ),
    )
    assert run.ended_well()
    assert run.told["sum"] == [(at, at if at % 3 else 10 * at) for at in range(15)]


def test_a_source_that_has_ended_is_not_run_again_when_its_queue_has_room():
    calls = []

    def all_at_once(node, ctx):
        calls.append(ctx.timestamp)
        for at in range(50):
            ctx.send(node.outs[0], at, at=at)
        ctx.stop()

    def every_tenth(node, ctx):
        if ctx.timestamp % 10 == 0:
            ctx.send(node.outs[0], ctx[node.ins[0]])

    run = Run(
        """
max_queue_size: 20 output_stream: "out" input_side_packet: "to"
input_side_packet: "all" input_side_packet: "tenth"
node { calculator: "Does" output_stream: "first" input_side_packet: "DO:all" }
node { calculator: "CountUp" output_stream: "second" input_side_packet: "TO:to" }
node { calculator: "Does" input_stream: "second" output_stream: "tenth"
  input_side_packet: "DO:tenth" }
node { calculator: "Join" input_stream: "first" input_stream: "second"
  input_stream: "tenth" output_stream: "out" }
""",
        to=50,
        all=does(process=all_at_once),
        tenth=does(process=every_tenth),
    )
    assert run.ended_well() and len(calls) == 1
    assert run.values("out") == [(at, at, None if at % 10 else at) for at in range(50)]


DELAYED = """
max_queue_size: 1 output_stream: "out" input_side_packet: "counter"
node { calculator: "CountTogether" output_stream: "numbers"
  input_side_packet: "COUNTER:counter" }
node { calculator: "UnitDelay" input_stream: "numbers" output_stream: "delayed" }
"""


def test_a_packet_sent_in_open_goes_through_a_graph_that_it_fills():
    run = Run(
        DELAYED
        + 'node { calculator: "Pass" input_stream: "delayed" output_stream: "out" }',
        counter=[1],
    )
    assert run.ended_well()
    assert run.told["out"] == [(at, at) for at in range(6)]


def test_a_source_held_back_by_a_packet_sent_in_open_is_let_go():
    run = Run(
        DELAYED
        + """node { calculator: "Join" input_stream: "delayed" input_stream: "numbers"
  output_stream: "out" }""",
        counter=[1],
    )
    assert run.ended_well()
    assert run.values("out") == [*((at, at + 1) for at in range(5)), (5, None)]


def test_no_input_is_there_in_open_even_if_its_producer_has_sent():
    seen = []

    def look(node, ctx):
        seen.append(any(ctx.has(each) for each in node.ins))

    run = Run(
        DELAYED
        + """input_side_packet: "do"
node { calculator: "Does" input_stream: "delayed" input_side_packet: "DO:do" }
node { calculator: "Does" input_stream: "numbers" output_stream: "out"
  input_side_packet: "DO:do" }
""",
        counter=[1],
        do=does(open=look),
    )
    assert run.ended_well() and seen == [False, False]


def test_a_fast_source_closes_and_its_slow_consumer_still_gets_everything():
    waits: list = []
    run = Run(
        """
output_stream: "out" input_side_packet: "to" input_side_packet: "waits"
node { calculator: "CountUp" output_stream: "count" input_side_packet: "TO:to" }
node { calculator: "Slow" input_stream: "count" output_stream: "out"
  input_side_packet: "WAITS:waits" }
""",
        to=10,
        waits=waits,
    )
    for number in range(10):
        assert len(waits) == number + 1 and not run.is_done
        waits[number].complete(None)
    assert run.ended_well() and run.values("out") == list(range(10))


DEADLOCKS = {
    "one node": 'node { calculator: "Pass" input_stream: "a" input_stream: "b" '
    'output_stream: "c" output_stream: "d" }',
    "another behind it": 'node { calculator: "Pass" input_stream: "a" '
    'input_stream: "b" output_stream: "c" output_stream: "d" } '
    'node { calculator: "Join" input_stream: "c" input_stream: "d" '
    'output_stream: "e" }',
    "two nodes": 'node { calculator: "Pass" input_stream: "a" input_stream: "b" '
    'output_stream: "c" output_stream: "d" } '
    'node { calculator: "Join" input_stream: "a" input_stream: "c" '
    'input_stream: "d" output_stream: "e" }',
}


def reported(nodes: str) -> str:
    run = Run(
        f'report_deadlock: true max_queue_size: 1 input_stream: "a" input_stream: "b" '
        f"{nodes}"
    )
    run.feed("a", 0, 1)
    run.feed("a", 1, 1)
    assert run.is_done and run.error is not None
    return run.error.details


def test_a_deadlock_is_reported_with_its_stream_and_node():
    text = reported(DEADLOCKS["one node"])
    assert "UNAVAILABLE" in text and "deadlock" in text
    assert '"a"' in text and '"Pass"' in text


def test_a_deadlock_names_the_node_that_waits_not_those_behind_it():
    text = reported(DEADLOCKS["another behind it"])
    assert "deadlock" in text and '"a"' in text and '"Pass"' in text


def test_of_two_deadlocks_one_at_least_is_reported():
    text = reported(DEADLOCKS["two nodes"])
    assert "deadlock" in text and '"a"' in text
    assert '"Pass"' in text or '"Join"' in text


def test_a_queue_that_waits_for_a_packet_it_holds_back_grows():
    # The thinned branch says nothing for most packets, so the other one piles up.
    run = Run(
        """
input_stream: "in" output_stream: "out" max_queue_size: 2 input_side_packet: "do"
node { calculator: "Does" input_stream: "in" output_stream: "thin"
  input_side_packet: "DO:do" }
node { calculator: "Join" input_stream: "thin" input_stream: "in"
  output_stream: "out" }
""",
        do=does(
            process=lambda node, ctx: (
                ctx.timestamp % 8 == 0 and ctx.send(node.outs[0], ctx[node.ins[0]])
            )
        ),
    )
    for at in range(24):
        assert run.error is None and run.has_room
        run.feed("in", at, at)
    run.close()
    assert run.ended_well()
    assert run.values("out") == [(None if at % 8 else at, at) for at in range(24)]

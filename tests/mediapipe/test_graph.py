"""Whole graphs: types, branches, observers, executors, runs one after the other
(calculator_graph_test).
"""

from __future__ import annotations

from typing import Any

import pytest

from ovms_mp.core.errors import ServingError, Status
from tests.mediapipe.driver import Run, define, does, failure

FILTERS = """
output_stream: "sum" output_stream: "joined" input_side_packet: "to"
executor { name: "other" type: "ThreadPoolExecutor" } num_threads: 2
node { calculator: "Join" input_stream: "sum" input_stream: "delayed"
  output_stream: "joined" executor: "other" }
node { calculator: "Add" input_stream: "even" input_stream: "count"
  output_stream: "sum" executor: "other" }
node { calculator: "UnitDelay" input_stream: "even" output_stream: "delayed" }
node { calculator: "Even" input_stream: "count" output_stream: "even" }
node { calculator: "CountUp" output_stream: "count" input_side_packet: "TO:to" }
"""
CHAIN = """
input_side_packet: "to"
node { calculator: "CountUp" output_stream: "count" input_side_packet: "TO:to" }
node { calculator: "Pass" input_stream: "count" output_stream: "mid" }
node { calculator: "Pass" input_stream: "mid" output_stream: "out" }
"""
DO = """
input_stream: "in" output_stream: "out" input_side_packet: "do"
node { name: "one" calculator: "Does" input_stream: "in" output_stream: "out"
  input_side_packet: "DO:do" %s }
"""


def test_a_graph_of_several_kinds_of_nodes_computes_what_it_says_whatever_their_order():
    run = Run(FILTERS, to=8)
    assert run.ended_well()
    assert run.told["sum"] == [(at, at if at % 2 else 2 * at) for at in range(8)]
    # "delayed" has 0 at 0, and each even number a tick after it.
    assert run.values("joined")[:4] == [(0, 0), (1, 0), (4, None), (3, 2)]


def test_a_graph_may_name_executors():
    executors = """num_threads: 3
executor { name: "second" type: "ThreadPoolExecutor"
  options { [mediapipe.ThreadPoolExecutorOptions.ext] { num_threads: 1 } } }
executor { name: "third" type: "ThreadPoolExecutor" }
executor { name: "mine" }
"""
    text = executors + FILTERS.replace('"other"', '"second"', 1)
    text = text.replace("num_threads: 2", 'executor { name: "other" }').replace(
        'executor { name: "second" type: "ThreadPoolExecutor" } ', ""
    )
    run = Run(text, to=4)
    assert run.ended_well() and run.values("sum") == [0, 1, 4, 3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('executor { name: "__gpu" type: "ThreadPoolExecutor" }', '"__gpu"'),
        ('executor { name: "default" type: "ThreadPoolExecutor" }', '"default"'),
    ],
)
def test_names_of_executors_that_are_reserved_are_refused(text, expected):
    with pytest.raises(ServingError, match=expected) as failed:
        define(CHAIN + text)
    assert "reserved" in failed.value.details


def test_a_node_may_not_name_a_reserved_executor():
    with pytest.raises(ServingError, match="reserved"):
        define(DO % 'executor: "__gpu"')


def test_an_executor_of_a_type_that_does_not_exist_is_refused():
    with pytest.raises(ServingError, match='"NoSuchExecutor" does not exist'):
        define(CHAIN + 'executor { name: "x" type: "NoSuchExecutor" }')


def test_a_node_may_only_name_an_executor_that_the_graph_declares():
    with pytest.raises(ServingError, match='"x" is not declared'):
        define(DO % 'executor: "x"')


def test_an_executor_may_be_declared_once():
    executor = 'executor { name: "x" type: "ThreadPoolExecutor" } '
    with pytest.raises(ServingError, match='"x" is declared twice'):
        define(CHAIN + executor + executor)


def test_the_default_executor_and_num_threads_exclude_each_other():
    with pytest.raises(ServingError, match="num_threads"):
        define(CHAIN + 'num_threads: 1 executor { type: "ThreadPoolExecutor" }')


def test_another_executor_and_num_threads_go_together():
    text = 'num_threads: 1 executor { name: "x" type: "ThreadPoolExecutor" }'
    run = Run(CHAIN + text, observe="out", to=3)
    assert run.ended_well() and run.values("out") == [0, 1, 2]


def test_a_graph_that_says_nothing_is_refused_or_has_nothing_to_do():
    with pytest.raises(ServingError):
        define('node { calculator: "NoSuchCalculator" }')


def test_a_run_without_what_it_needs_fails_at_once():
    assert '"to" is required' in failure(CHAIN)


def test_streams_must_carry_what_their_consumers_take():
    define("""node { calculator: "Numbers" output_stream: "n" }
node { calculator: "Even" input_stream: "n" output_stream: "even" }""")
    with pytest.raises(ServingError, match="carries int, the calculator takes str"):
        define("""node { calculator: "Numbers" output_stream: "n" }
node { calculator: "TakesText" input_stream: "n" }""")


def test_an_offset_that_is_set_in_process_has_no_effect():
    # MediaPipe fails the run; an attribute of an instance cannot.
    def process(node, ctx):
        node.timestamp_offset = 0

    run = Run(DO % "", bounds="out", do=does(process=process))
    run.feed("in", 0)
    assert run.error is None and run.bounds["out"] == []


BRANCHES = """
input_stream: "in" input_stream: "select" output_stream: "out"
input_side_packet: "double" input_side_packet: "square" input_side_packet: "apart"
node { calculator: "%s" input_stream: "in" input_stream: "select"
  output_stream: "left" output_stream: "right" input_side_packet: "DO:apart" }
node { calculator: "Pass" input_stream: "left" output_stream: "left1" }
node { calculator: "DoesWithOffset" input_stream: "left1" output_stream: "left2"
  input_side_packet: "DO:double" }
node { calculator: "Pass" input_stream: "left2" output_stream: "left3" }
node { calculator: "DoesWithOffset" input_stream: "right" output_stream: "right1"
  input_side_packet: "DO:square" }
node { calculator: "Select" input_stream: "IN:0:left3" input_stream: "IN:1:right1"
  input_stream: "SELECT:select" output_stream: "out" %s }
"""


def to_branch(node, ctx):
    """What comes to the output that the second input names."""
    ctx.send(node.outs[ctx[node.ins[1]]], ctx[node.ins[0]])


def apply(function: Any) -> Any:
    return does(
        process=lambda node, ctx: ctx.send(node.outs[0], function(ctx[node.ins[0]]))
    )


def check_branches(text: str) -> None:
    run = Run(
        text,
        double=apply(lambda x: 2 * x),
        square=apply(lambda x: x * x),
        apart=does(process=to_branch),
    )
    expected = []
    for at, select in enumerate((0, 1, 0, 0, 1, 0, 1, 1, 1, 0), start=1):
        run.feed("in", at, at)
        run.feed("select", at, select)
        expected.append((at, at * at if select else 2 * at))
        assert run.told["out"] == expected
    run.close()
    assert run.ended_well() and run.told["out"] == expected


def test_branches_with_offsets_come_together_by_time():
    check_branches(BRANCHES % ("DoesWithOffset", ""))


def test_branches_without_bounds_come_together_by_a_mux():
    mux = 'input_stream_handler { input_stream_handler: "MuxInputStreamHandler" }'
    check_branches(BRANCHES % ("Does", mux))


def test_runs_of_a_graph_do_not_know_of_each_other_whatever_happened():
    def process(node, ctx):
        if ctx[node.ins[0]] == "bad":
            raise RuntimeError("meant to fail")
        ctx.send(node.outs[0], ctx[node.ins[0]])

    graph = define(DO % "")
    for payload in ("good", "bad", "good", "bad", "good"):
        run = Run(graph, do=does(process=process))
        run.feed("in", 0, payload)
        run.close()
        assert run.ended_well() == (payload == "good")
        assert run.values("out") == (["good"] if payload == "good" else [])


def test_a_run_after_one_that_failed_in_open_is_as_good_as_the_first():
    def fail(node, ctx):
        raise RuntimeError("no")

    graph = define("""
input_side_packet: "to" input_side_packet: "do" output_stream: "d"
node { calculator: "CountUp" output_stream: "a" input_side_packet: "TO:to" }
node { calculator: "UnitDelay" input_stream: "a" output_stream: "b" }
node { calculator: "Pass" input_stream: "b" output_stream: "c" }
node { calculator: "Does" input_stream: "c" output_stream: "d"
  input_side_packet: "DO:do" }
""")
    for _ in range(2):
        same = apply(lambda x: x)
        assert len(Run(graph, to=10, do=same).told["d"]) == 11
        assert Run(graph, to=10, do=does(open=fail)).error is not None


HANDLED = """
input_stream: "in" input_stream: "select" output_stream: "out"
node { calculator: "Pass" input_stream: "in" input_stream: "select"
  output_stream: "out" output_stream: "selected"
  input_stream_handler { input_stream_handler: "%sInputStreamHandler" } }
"""


@pytest.mark.parametrize(
    "name",
    [
        "Barrier",
        "Default",
        "EarlyClose",
        "FixedSize",
        "Immediate",
        "Mux",
        "SyncSet",
        "TimestampAlign",
    ],
)
def test_no_input_handler_remembers_the_run_before(name):
    text = HANDLED % name
    if name == "TimestampAlign":
        text = text.replace(
            'Handler" } }',
            'Handler" options { [mediapipe.TimestampAlignInputStreamHandlerOptions.ext]'
            ' { timestamp_base_tag_index: ":0" } } } }',
        )
    graph = define(text)
    for at in (2000, 1000):
        run = Run(graph)
        if name != "Immediate":
            run.feed("select", at, 0)
        run.feed("in", at, at)
        assert run.told["out"] == [(at, at)]
        run.close()
        assert run.ended_well()


def test_any_stream_can_be_observed_from_its_first_packet_on():
    run = Run(CHAIN, observe="count out", to=10)
    assert run.ended_well()
    assert run.told["count"] == run.told["out"] == [(at, at) for at in range(10)]


def test_a_stream_that_does_not_exist_cannot_be_observed():
    with pytest.raises(KeyError, match="not_found"):
        Run(CHAIN, observe="not_found", to=10)


def test_an_observer_may_end_the_run():
    class Picky(Run):
        """Has enough of the sixth packet."""

        def packet(self, output, packet):
            super().packet(output, packet)
            if packet.payload == 5:
                self.run.fail(ServingError(Status.CANCELLED))

    run = Picky(CHAIN, observe="count", to=10)
    assert run.is_done and run.error is not None
    assert run.values("count") == [0, 1, 2, 3, 4, 5]


def test_an_observer_of_bounds_hears_how_far_a_stream_is_settled():
    def process(node, ctx):
        at = node.at = getattr(node, "at", -1) + 1
        if at % 50 == 1:
            ctx.send(node.outs[0], at, at=at)
        elif at % 15 == 7:
            ctx.set_next_bound(node.outs[0], at)
        if at == 109:
            ctx.stop()

    run = Run(
        """input_side_packet: "do"
node { calculator: "Does" output_stream: "out" input_side_packet: "DO:do" }""",
        bounds="out",
        do=does(process=process),
    )
    assert run.ended_well() and run.values("out") == [1, 51, 101]
    assert run.bounds["out"] == [6, 21, 36, 66, 81, 96]


def test_graph_inputs_may_have_tags():
    run = Run("""
input_stream: "META:meta" input_stream: "count" output_stream: "out"
node { calculator: "Pass" input_stream: "FIRST:meta" input_stream: "count"
  output_stream: "FIRST:out" output_stream: "same" }
""")
    for at in range(5):
        run.feed("meta", at, at)
    run.close()
    assert run.ended_well() and run.values("out") == [0, 1, 2, 3, 4]


def test_an_immediate_node_that_sends_back_in_time_fails_the_run():
    def process(node, ctx):
        ctx.send(node.outs[0], next(ctx[each] for each in node.ins if ctx.has(each)))

    run = Run(
        """
input_stream: "a" input_stream: "b" output_stream: "out" input_side_packet: "do"
node { calculator: "Does" input_stream: "a" input_stream: "b" output_stream: "out"
  input_side_packet: "DO:do"
  input_stream_handler { input_stream_handler: "ImmediateInputStreamHandler" } }
""",
        do=does(process=process),
    )
    run.feed("a", 0, 1)
    run.feed("a", 1, 3)
    assert run.values("out") == [1, 3]
    run.feed("b", 0, 2)
    assert run.is_done and "timestamp mismatch on a calculator" in run.error.details

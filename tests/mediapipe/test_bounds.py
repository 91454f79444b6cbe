"""Bounds: how they come about, travel, and set nodes free (calculator_graph_bounds_test)."""

from __future__ import annotations

import pytest

from ovms_mp.core.timestamp import POSTSTREAM
from tests.mediapipe.driver import Run, does

GATED = """
input_stream: "in" input_stream: "gate" output_stream: "joined"
node { calculator: "Valve" input_stream: "IN:in" input_stream: "GATE:gate"
  output_stream: "gated" }
node { calculator: "Pass" input_stream: "gated" output_stream: "passed" }
node { calculator: "Shift" input_stream: "passed" output_stream: "shifted"
  input_side_packet: "by" }
node { calculator: "Join" input_stream: "in" input_stream: "shifted"
  output_stream: "joined" }
input_side_packet: "by"
"""

HANDLERS = {
    "default": 'input_stream_handler: "DefaultInputStreamHandler"',
    "immediate": 'input_stream_handler: "ImmediateInputStreamHandler"',
    "one sync set": 'input_stream_handler: "SyncSetInputStreamHandler"',
    "sync sets": (
        'input_stream_handler: "SyncSetInputStreamHandler" options { '
        "[mediapipe.SyncSetInputStreamHandlerOptions.ext] { "
        'sync_set { tag_index: ":0" } } }'
    ),
}


def gate(run: Run, at: int, *, passes: bool) -> None:
    run.feed("in", at, at)
    run.feed("gate", at, passes)


def test_a_promise_travels_through_offsets_and_frees_the_node_that_joins():
    run = Run(GATED, by=0)
    for at, passes in ((1, True), (2, True), (3, False), (4, False)):
        gate(run, at, passes=passes)
    assert run.told["joined"] == [
        (1, (1, 1)),
        (2, (2, 2)),
        (3, (3, None)),
        (4, (4, None)),
    ]


def test_an_offset_moves_the_bound_with_the_packets():
    run = Run(GATED, by=-1)
    gate(run, 7, passes=True)
    # At 7 the gated branch may still send: its bound is 7, not 8.
    assert run.told["joined"] == [(6, (None, 7))]
    run.close()
    assert run.told["joined"][1:] == [(7, (7, None))]
    assert run.ended_well()


def test_a_bound_equal_to_the_packet_of_another_input_does_not_settle_it():
    run = Run("""
input_stream: "a" input_stream: "b" output_stream: "sum"
node { calculator: "Even" input_stream: "b" output_stream: "even" }
node { calculator: "Add" input_stream: "a" input_stream: "even" output_stream: "sum" }
""")
    run.feed("a", 1, 1)
    run.feed("b", 1, 2)
    assert run.told["sum"] == [(1, 3)]
    run.feed("b", 2, 3)  # swallowed: the bound of "even" is now 3
    run.feed("a", 3, 3)
    assert run.told["sum"] == [(1, 3)]
    run.feed("b", 3, 4)
    assert run.told["sum"] == [(1, 3), (3, 7)]


def test_bounds_run_round_a_loop_with_an_offset_and_never_stall_it():
    run = Run("""
output_stream: "sum"
node { calculator: "CountAndPromise" output_stream: "numbers" }
node { calculator: "Add" input_stream: "numbers" input_stream: "old"
  output_stream: "sum" input_stream_info { tag_index: ":1" back_edge: true }
  input_stream_handler { input_stream_handler: "EarlyCloseInputStreamHandler" } }
node { calculator: "Delay20" input_stream: "sum" output_stream: "old" }
""")
    assert run.ended_well()
    assert run.told["sum"] == [(20 * n, n * (n + 1) // 2) for n in range(101)]


def test_a_batch_holds_back_the_bound_of_its_first_timestamp():
    run = Run("""
output_stream: "out"
node { calculator: "CountAndPromise" output_stream: "numbers" }
node { calculator: "Pass" input_stream: "numbers" output_stream: "out"
  input_stream_handler { input_stream_handler: "DefaultInputStreamHandler"
    options { [mediapipe.DefaultInputStreamHandlerOptions.ext] { batch_size: 10 } } } }
""")
    assert run.ended_well()
    assert run.values("out") == list(range(101))


def test_an_immediate_node_with_an_offset_carries_bounds():
    run = Run("""
input_stream: "in" output_stream: "out"
node { calculator: "PromisesNext" input_stream: "in" output_stream: "bounds" }
node { calculator: "Pass" input_stream: "bounds" output_stream: "on"
  input_stream_handler { input_stream_handler: "ImmediateInputStreamHandler" } }
node { calculator: "Pass" input_stream: "on" input_stream: "in"
  output_stream: "nothing" output_stream: "out" }
""")
    for at in range(4):
        run.feed("in", at, at)
    assert run.values("out") == [0, 1, 2, 3]
    run.close()
    assert run.ended_well() and run.values("out") == [0, 1, 2, 3]


def test_an_offset_moves_the_bound_although_process_sends_nothing():
    run = Run("""
input_stream: "in" output_stream: "out"
node { calculator: "Promises" input_stream: "in" output_stream: "bounds" }
node { calculator: "Pass" input_stream: "bounds" input_stream: "in"
  output_stream: "nothing" output_stream: "out" }
""")
    for at in range(4):
        run.feed("in", at, at)
    assert run.values("out") == [0, 1, 2, 3]


def test_a_bound_alone_does_not_call_process():
    run = Run("""
input_stream: "in" output_stream: "out"
node { calculator: "Later" input_stream: "in" output_stream: "late" }
node { calculator: "Promises" input_stream: "late" output_stream: "bounds" }
node { calculator: "SettledAt" input_stream: "bounds" output_stream: "out" }
""")
    for at in range(4):
        run.feed("in", at, at)
    assert run.told["out"] == []
    run.close()
    assert run.ended_well() and run.told["out"] == []


def test_a_packet_that_fixed_size_drops_announces_no_bound():
    waits = []
    run = Run(
        """
input_stream: "in" output_stream: "thin" output_stream: "out"
input_side_packet: "waits"
node { calculator: "SlowWithOffset" input_stream: "in" output_stream: "some"
  input_side_packet: "WAITS:waits"
  input_stream_handler { input_stream_handler: "FixedSizeInputStreamHandler" } }
node { calculator: "Pass" input_stream: "some" input_stream: "in"
  output_stream: "thin" output_stream: "out" }
""",
        waits=waits,
    )
    for at in range(4):
        run.feed("in", at, at)
    assert run.told == {"thin": [], "out": []}
    waits[0].complete(None)
    assert run.told == {"thin": [(0, 0)], "out": [(0, 0)]}
    waits[1].complete(None)
    assert run.told["thin"] == [(0, 0), (3, 3)]
    assert run.values("out") == [0, 1, 2, 3]
    assert len(waits) == 2


def test_a_node_that_keeps_the_last_packet_lets_out_all_before_it():
    run = Run("""
input_stream: "in" output_stream: "out" output_stream: "last"
node { calculator: "Pass" input_stream: "in" output_stream: "same" }
node { calculator: "LastOnly" input_stream: "same" output_stream: "kept" }
node { calculator: "Pass" input_stream: "in" input_stream: "kept"
  output_stream: "out" output_stream: "last" }
""")
    for at in range(4):
        run.feed("in", at, at)
        assert len(run.told["out"]) == at and run.told["last"] == []
    run.close()
    assert run.values("out") == [0, 1, 2, 3] and run.told["last"] == [(3, 3)]
    assert run.ended_well()


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
def test_an_input_without_a_packet_shows_up_to_where_it_is_settled(handler):
    run = Run(f"""
input_stream: "in" output_stream: "of_in" output_stream: "of_bounds"
node {{ calculator: "Later" input_stream: "in" output_stream: "late" }}
node {{ calculator: "Promises" input_stream: "late" output_stream: "bounds" }}
node {{ calculator: "SettledAt" input_stream: "in" input_stream: "bounds"
  output_stream: "of_in" output_stream: "of_bounds"
  input_stream_handler {{ {handler} }} }}
""")
    for at in (0, 10, 20, 30):
        run.feed("in", at, at)
    assert run.values("of_in") == [0, 10, 20, 30]
    limits = [-(2**63) + 1, 3, 13, 23, 33]
    shown = run.values("of_bounds")
    assert len(shown) == 4
    assert all(limits[n] <= at <= limits[n + 1] for n, at in enumerate(shown))


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
def test_process_is_called_for_bounds_where_a_calculator_asks_for_it(handler):
    run = Run(f"""
input_stream: "in" output_stream: "told"
node {{ calculator: "Later" input_stream: "in" output_stream: "late" }}
node {{ calculator: "Promises" input_stream: "late" output_stream: "bounds" }}
node {{ calculator: "TellsBounds" input_stream: "bounds" output_stream: "told"
  input_stream_handler {{ {handler} }} }}
""")
    for at in (0, 10, 20, 30):
        run.feed("in", at, at)
    assert run.told["told"] == [(3, 3), (13, 13), (23, 23), (33, 33)]
    run.close()
    assert run.ended_well()


def test_each_input_of_an_immediate_node_has_bounds_of_its_own():
    run = Run("""
input_stream: "a" input_stream: "b" output_stream: "of_a" output_stream: "of_b"
node { calculator: "Promises" input_stream: "b" output_stream: "bounds" }
node { calculator: "PassAtOnce" input_stream: "a" input_stream: "bounds"
  output_stream: "same" output_stream: "same_bounds" }
node { calculator: "TellsBounds" input_stream: "same" input_stream: "same_bounds"
  output_stream: "of_a" output_stream: "of_b" }
""")
    for at in (0, 10, 20, 30):
        run.feed("a", at, at)
    assert run.values("of_a") == [0, 10, 20, 30] and run.values("of_b") == []
    for at in (10, 20):
        run.feed("b", at, at)
    assert run.values("of_a") == [0, 10, 20, 30] and run.values("of_b") == [10, 20]


def test_a_packet_at_poststream_is_processed_by_a_node_that_processes_bounds():
    run = Run("""
input_stream: "in" output_stream: "told"
node { calculator: "TellsBounds" input_stream: "in" output_stream: "told" }
""")
    run.feed("in", POSTSTREAM, 0)
    assert run.times("told") == [POSTSTREAM]
    run.close()
    assert run.ended_well()


def test_calls_in_flight_promise_in_the_order_of_their_inputs():
    waits = []
    run = Run(
        """
input_stream: "in" input_side_packet: "waits"
node { calculator: "OccasionalBound" input_stream: "in" output_stream: "out"
  input_side_packet: "WAITS:waits" max_in_flight: 5 }
""",
        bounds="out",
        waits=waits,
    )
    for at in range(10, 60, 10):
        run.feed("in", at, at)
    assert len(waits) == 5
    for each in reversed(waits):
        each.complete(None)
    assert run.error is None and run.bounds["out"][-1] == 40
    assert run.bounds["out"] == sorted(run.bounds["out"])
    run.close()
    assert run.ended_well() and run.told["out"] == []


def test_a_promise_beyond_the_offset_stays():
    run = Run(
        """
input_stream: "in"
node { calculator: "OffsetAndBound" input_stream: "in" output_stream: "out" }
""",
        bounds="out",
    )
    for at in range(10, 100, 10):
        run.feed("in", at, at)
    assert run.error is None and run.bounds["out"][-1] == 9_999
    run.close()
    assert run.ended_well() and run.told["out"] == []


def test_an_empty_packet_of_a_calculator_is_a_bound():
    run = Run(
        """
input_stream: "in" input_side_packet: "do" output_stream: "told"
node { calculator: "Does" input_stream: "in" output_stream: "empty"
  input_side_packet: "DO:do" }
node { calculator: "TellsBounds" input_stream: "empty" output_stream: "told" }
""",
        do=does(
            process=lambda node, ctx: ctx.set_next_bound(
                node.outs[0], ctx.timestamp + 1
            )
        ),
    )
    for at in range(10, 100, 10):
        run.feed("in", at, at)
    assert run.times("told") == list(range(10, 100, 10))


def test_a_bound_of_a_graph_input_is_processed_like_any_other():
    run = Run("""
input_stream: "in" output_stream: "told"
node { calculator: "TellsBounds" input_stream: "in" output_stream: "told" }
""")
    for at in range(10, 100, 10):
        run.feed_empty("in", at)
    assert run.times("told") == list(range(10, 100, 10))


def test_an_input_that_seldom_comes_lets_others_on_by_its_bounds():
    run = Run(
        """
input_stream: "SELDOM:settings" input_stream: "OFTEN:frame"
node { calculator: "Pass" input_stream: "S:settings" input_stream: "F:frame"
  output_stream: "F:frames" output_stream: "S:all_settings" }
""",
        bounds="frames all_settings",
    )
    run.feed("frame", 0, "f0")
    assert run.values("frames") == []
    run.advance("settings", 10_000)
    assert run.told["frames"] == [(0, "f0")]
    run.feed("frame", 20_000, "f1")
    assert run.bounds["frames"] == [9_999]
    run.advance("settings", 30_000)
    assert run.told["frames"][1:] == [(20_000, "f1")]
    run.feed("frame", 40_000, "f2")
    assert run.bounds["frames"] == [9_999, 29_999]
    run.feed("settings", 50_000, "s1")
    assert run.told["frames"][2:] == [(40_000, "f2")]
    assert run.told["all_settings"] == []
    run.feed("frame", 60_000, "f3")
    assert run.told["all_settings"] == [(50_000, "s1")]
    run.advance("settings", 70_000)
    assert run.told["frames"][3:] == [(60_000, "f3")]
    assert run.bounds["all_settings"] == [0, 9_999, 20_000, 29_999, 40_000, 60_000]

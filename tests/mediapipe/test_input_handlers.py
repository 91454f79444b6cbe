"""Default with batches, FixedSize, Barrier, SyncSet and TimestampAlign
(stream_handler/*_input_stream_handler_test).
"""

from __future__ import annotations

import random
from itertools import chain

import pytest

from ovms_mp.core.pending import Pending
from ovms_mp.core.timestamp import DONE, POSTSTREAM, PRESTREAM
from tests.mediapipe.driver import Run


def handler(name: str, options: str = "") -> str:
    """The text of an input_stream_handler."""
    if options:
        options = f"options {{ [mediapipe.{name}Options.ext] {{ {options} }} }}"
    return f'input_stream_handler {{ input_stream_handler: "{name}" {options} }}'


def batched(size: int) -> str:
    return handler("DefaultInputStreamHandler", f"batch_size: {size}")


def test_a_batch_of_one_is_no_batch():
    run = Run(f"""
input_stream: "a" input_stream: "b" output_stream: "x" output_stream: "y"
node {{ calculator: "Pass" input_stream: "a" input_stream: "b"
  output_stream: "x" output_stream: "y" {batched(1)} }}
""")
    run.feed("a", 1, 1)
    assert run.told == {"x": [], "y": []}
    run.feed("b", 2, 2)
    assert run.told == {"x": [(1, 1)], "y": []}
    run.feed("a", 2, 2)
    assert run.told == {"x": [(1, 1), (2, 2)], "y": [(2, 2)]}


BATCHES_OF_TWO = f"""
input_stream: "in" output_stream: "out"
node {{ calculator: "Pass" input_stream: "in" output_stream: "out" {batched(2)} }}
"""


def test_packets_are_processed_when_their_batch_is_full():
    run = Run(BATCHES_OF_TWO)
    seen = []
    for at in (1, 2, 3, 4):
        run.feed("in", at, at)
        seen.append(run.values("out"))
    assert seen == [[], [1, 2], [1, 2], [1, 2, 3, 4]]


def test_what_is_left_of_a_batch_is_processed_at_the_end():
    run = Run(BATCHES_OF_TWO)
    for at in (1, 2, 3):
        run.feed("in", at, at)
    assert run.values("out") == [1, 2]
    run.close()
    assert run.values("out") == [1, 2, 3] and run.ended_well()


def test_a_batch_that_fills_tells_no_bound_beyond_its_first_packet():
    run = Run(f"""
input_stream: "a" input_stream: "b" output_stream: "x"
node {{ calculator: "Pass" input_stream: "b" output_stream: "late" {batched(3)} }}
node {{ calculator: "Pass" input_stream: "a" input_stream: "late"
  output_stream: "x" output_stream: "y" }}
""")
    run.feed("a", 0, 0)
    counts = [len(run.told["x"])]
    for at in (1, 2, 3):
        run.feed("a", at, at)
        run.feed("b", at, at)
        counts.append(len(run.told["x"]))
    assert counts == [0, 1, 1, 4]
    run.close()
    assert run.ended_well() and run.times("x") == [0, 1, 2, 3]


@pytest.mark.parametrize("fixed_min_size", ["false", "true"])
def test_a_slow_node_with_fixed_size_takes_the_newest_of_what_has_come(fixed_min_size):
    log: list = []
    waits: list = []
    fixed = handler("FixedSizeInputStreamHandler", f"fixed_min_size: {fixed_min_size}")
    run = Run(
        f"""
input_stream: "in" input_side_packet: "log" input_side_packet: "waits"
node {{ calculator: "Records" input_stream: "in" input_side_packet: "LOG:log"
  input_side_packet: "WAITS:waits" {fixed} }}
""",
        log=log,
        waits=waits,
    )
    at = 0
    for _ in range(5):
        pending = Pending[None]()
        waits.append(pending)
        for _ in range(10):
            run.feed("in", at, at)
            at += 1
        pending.complete(None)
    run.close()
    assert run.ended_well()
    # The packet that found the node idle, then the newest at the end of each wait.
    assert [call[1] for call in log[:-1]] == [0, 9, 10, 19, 20, 29, 30, 39, 40, 49]


@pytest.mark.parametrize("fixed_min_size", ["false", "true"])
def test_a_fixed_size_input_that_drops_never_stalls_its_source(fixed_min_size):
    fixed = handler("FixedSizeInputStreamHandler", f"fixed_min_size: {fixed_min_size}")
    run = Run(
        f"""
max_queue_size: 10 output_stream: "out" input_side_packet: "ten"
node {{ calculator: "CountUp" output_stream: "in" input_side_packet: "TO:ten" }}
node {{ calculator: "Pass" input_stream: "in" output_stream: "out" {fixed} }}
""",
        ten=30,
    )
    assert run.ended_well() and run.values("out")[-1] == 29


THREE_FIXED = """
input_stream: "a" input_stream: "b" input_stream: "c"
output_stream: "x" output_stream: "y" output_stream: "z"
node {{ calculator: "Pass" input_stream: "a" input_stream: "b" input_stream: "c"
  output_stream: "x" output_stream: "y" output_stream: "z" {} }}
"""


@pytest.mark.parametrize("fixed_min_size", ["false", "true"])
@pytest.mark.parametrize("seed", range(5))
def test_fixed_size_keeps_the_packets_of_a_timestamp_together(fixed_min_size, seed):
    run = Run(
        THREE_FIXED.format(
            handler(
                "FixedSizeInputStreamHandler",
                "trigger_queue_size: 3 target_queue_size: 1 "
                f"fixed_min_size: {fixed_min_size}",
            )
        )
    )
    dice = random.Random(seed)
    left = {stream: list(range(50)) for stream in "abc"}
    while any(left.values()):
        stream = dice.choice([each for each in left if left[each]])
        at = left[stream].pop(0)
        run.feed(stream, at, at)
    run.close()
    assert run.ended_well() and run.told["x"]
    assert run.told["x"] == run.told["y"] == run.told["z"]


@pytest.mark.parametrize(
    ("fixed_min_size", "first"), [("false", (5, 5, 5)), ("true", (1, 3, 4))]
)
def test_a_packet_that_comes_too_late_for_fixed_size_is_dropped(fixed_min_size, first):
    run = Run(
        THREE_FIXED.format(
            handler(
                "FixedSizeInputStreamHandler",
                "trigger_queue_size: 4 target_queue_size: 3 "
                f"fixed_min_size: {fixed_min_size}",
            )
        )
    )
    for stream, times in (("a", (1, 7)), ("b", (3, 8)), ("c", (4, 8))):
        for at in range(*times):
            run.feed(stream, at, at)
    run.close()
    assert run.times("x") == list(range(first[0], 7))
    assert run.times("y") == list(range(first[1], 8))
    assert run.times("z") == list(range(first[2], 8))


def test_a_barrier_takes_one_packet_of_each_input_whatever_their_times():
    log: list = []
    run = Run(
        f"""
input_stream: "a" input_stream: "b" input_stream: "c" input_side_packet: "log"
node {{ calculator: "Records" input_stream: "a" input_stream: "b" input_stream: "c"
  input_side_packet: "LOG:log" {handler("BarrierInputStreamHandler")} }}
""",
        log=log,
    )
    for at, payload in ((10, "p1"), (30, "p2"), (40, "p3")):
        run.feed("a", at, payload)
    run.feed("b", 0, "p1")
    assert log == []
    run.feed("c", 0, "p1")
    run.feed("c", 1, "p2")
    assert [call[1:] for call in log] == [("p1", "p1", "p1")]
    run.feed("c", 2, "p3")
    assert len(log) == 1
    run.feed("b", 1, "p2")
    assert [call[1:] for call in log[1:]] == [("p2", "p2", "p2")]
    # "b" has nothing more to give: what "a" and "c" still have is never taken.
    run.close("b")
    assert log[2:] == ["closed"]


SYNC_SETS = (("a", "c", "e"), ("b", "d"), ("f",), ("g",), ("h",))

# What each set sees, whatever happens to the others: what is fed, and the calls that
# follow from it, as (timestamp, streams with a packet).
COMMANDS = (
    (
        ("a", 0, ()),
        ("c", 0, ()),
        ("a", 10, ()),
        ("e", 0, ((0, "ace"),)),
        ("c", 10, ()),
        ("e", 10, ((10, "ace"),)),
        ("c", 30, ()),
        ("a", 30, ()),
        ("a", DONE, ()),
        ("e", 40, ((30, "ac"),)),
        ("c", 40, ((40, "ce"),)),
        ("c", 60, ()),
        ("c", DONE, ()),
        ("e", DONE, ((60, "c"),)),
    ),
    (
        ("b", -300, ()),
        ("b", -200, ()),
        ("d", -200, ((-300, "b"), (-200, "bd"))),
        ("d", -20, ()),
        ("b", 0, ((-20, "d"),)),
        ("d", DONE, ((0, "b"),)),
        ("b", DONE, ()),
    ),
    (*(("f", at, ((at, "f"),)) for at in range(-350, 350, 35)), ("f", DONE, ())),
    (("g", PRESTREAM, ((PRESTREAM, "g"),)), ("g", DONE, ())),
    (("h", POSTSTREAM, ((POSTSTREAM, "h"),)), ("h", DONE, ())),
)


@pytest.mark.parametrize("seed", range(60))
def test_sync_sets_run_by_themselves_whatever_the_others_do(seed):
    dice = random.Random(seed)
    # One set may be left out of the options: its inputs are then the set of the rest.
    named = list(SYNC_SETS)
    if (left_out := dice.randrange(len(SYNC_SETS) + 1)) < len(SYNC_SETS):
        del named[left_out]
    dice.shuffle(named)
    options = " ".join(
        "sync_set { "
        + " ".join(f'tag_index: ":{"abcdefgh".index(each)}"' for each in group)
        + " }"
        for group in named
    )
    streams = " ".join(f'input_stream: "{each}"' for each in "abcdefgh")
    log: list = []
    run = Run(
        f"""
{streams} input_side_packet: "log"
node {{ calculator: "Records" {streams} input_side_packet: "LOG:log"
  {handler("SyncSetInputStreamHandler", options)} }}
""",
        log=log,
    )
    order = list(
        chain.from_iterable([n] * len(commands) for n, commands in enumerate(COMMANDS))
    )
    dice.shuffle(order)
    queues = [list(commands) for commands in COMMANDS]
    for number in order:
        stream, at, expected = queues[number].pop(0)
        before = len(log)
        if at == DONE:
            run.close(stream)
        else:
            run.feed(stream, at, stream)
        calls = tuple(
            (call[0], "".join(each for each in call[1:] if isinstance(each, str)))
            for call in log[before:]
            if call != "closed"
        )
        assert calls == expected, (stream, at)
    assert run.ended_well() and log[-1] == "closed"


def test_of_two_sync_sets_that_are_ready_the_earlier_runs_and_then_the_other():
    log: list = []
    waits: list = []
    sets = 'sync_set { tag_index: ":0" } sync_set { tag_index: ":1" }'
    run = Run(
        f"""
input_stream: "a" input_stream: "b" input_side_packet: "log" input_side_packet: "waits"
node {{ calculator: "RecordsBounds" input_stream: "a" input_stream: "b"
  input_side_packet: "LOG:log" input_side_packet: "WAITS:waits"
  {handler("SyncSetInputStreamHandler", sets)} }}
""",
        log=log,
        waits=waits,
    )
    pending = Pending[None]()
    waits.append(pending)
    run.feed("a", 0, "busy")
    run.feed("a", 5, "a5")
    run.feed("b", 3, "b3")
    log.clear()
    pending.complete(None)
    assert [(call[0], call[1 + at]) for at, call in zip((1, 0), log, strict=True)] == [
        (3, "b3"),
        (5, "a5"),
    ]


ALIGNED = """
input_stream: "video" input_stream: "camera" output_stream: "v" output_stream: "c"
node {{ calculator: "Pass" input_stream: "V:video" input_stream: "C:camera"
  output_stream: "V:v" output_stream: "C:c" {} }}
"""


def test_other_clocks_are_moved_onto_that_of_the_base_by_their_first_packets():
    run = Run(
        ALIGNED.format(
            handler("TimestampAlignInputStreamHandler", 'timestamp_base_tag_index: "C"')
        )
    )
    run.feed("camera", 101, 1)
    run.feed("camera", 102, 2)
    # Until the other has a packet, the base goes alone.
    assert run.told == {"v": [], "c": [(101, 1), (102, 2)]}
    run.feed("video", 1, 1)
    assert len(run.told["c"]) == 2
    run.feed("camera", 103, 3)
    assert run.told["v"] == [(103, 1)] and run.told["c"][2:] == [(103, 3)]
    run.feed("camera", 104, 4)
    assert len(run.told["c"]) == 3
    run.feed("video", 4, 4)
    assert len(run.told["v"]) == 1 and run.told["c"][3:] == [(104, 4)]
    run.close()
    assert run.told["v"][1:] == [(106, 4)] and run.ended_well()


def test_aligned_inputs_keep_their_own_rates():
    run = Run(
        ALIGNED.format(
            handler(
                "TimestampAlignInputStreamHandler", 'timestamp_base_tag_index: "C:0"'
            )
        )
    )
    run.feed("video", 0, 0)
    assert run.told == {"v": [], "c": []}
    run.feed("camera", 1000, 0)
    assert run.told == {"v": [(1000, 0)], "c": [(1000, 0)]}
    run.feed("video", 5, 1)
    assert len(run.told["v"]) == 1
    run.feed("video", 10, 2)
    run.feed("camera", 1010, 1)
    assert run.told["v"][1:] == [(1005, 1), (1010, 2)]
    assert run.told["c"][1:] == [(1010, 1)]

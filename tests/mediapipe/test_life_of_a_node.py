"""What a node lives through (calculator_graph_test, calculator_node_test)."""

from __future__ import annotations

from ovms_mp.core.timestamp import DONE, UNSTARTED
from tests.mediapipe.driver import Run, define

DO = """
input_stream: "in" output_stream: "out" input_side_packet: "do"
node { name: "one" calculator: "Does" input_stream: "in" output_stream: "out"
  input_side_packet: "DO:do" }
"""


class Diary:
    """Writes down every call of a node and its timestamp."""

    def __init__(self, stop_at: int = -1) -> None:
        self.entries: list[tuple[str, int]] = []
        self.stop_at = stop_at

    def open(self, node, ctx):
        self.entries.append(("open", ctx.timestamp))

    def process(self, node, ctx):
        self.entries.append(("process", ctx.timestamp))
        count = len(self.entries) - 2
        if not node.ins:
            ctx.send(node.outs[0], count, at=count)
        if count == self.stop_at:
            ctx.stop()

    def close(self, node, ctx):
        self.entries.append(("close", ctx.timestamp))


PAIR = """
input_side_packet: "source" input_side_packet: "sink"
node { calculator: "Does" output_stream: "n" input_side_packet: "DO:source" }
node { calculator: "Does" input_stream: "n" input_side_packet: "DO:sink" }
"""


def test_each_call_has_its_timestamp_when_the_source_stops():
    source, sink = Diary(stop_at=2), Diary()
    assert Run(PAIR, source=source, sink=sink).ended_well()
    processed = [("process", 0)] * 3
    assert source.entries == [("open", UNSTARTED), *processed, ("close", DONE)]
    processed = [("process", at) for at in range(3)]
    assert sink.entries == [("open", UNSTARTED), *processed, ("close", DONE)]


def test_each_call_has_its_timestamp_when_the_sink_stops():
    source, sink = Diary(), Diary(stop_at=3)
    assert Run(PAIR, source=source, sink=sink).ended_well()
    assert source.entries[-1] == sink.entries[-1] == ("close", DONE)
    assert [at for _, at in sink.entries[1:-1]] == [0, 1, 2, 3]


def test_a_node_is_opened_then_processes_then_is_closed_and_never_again():
    diary = Diary()
    run = Run(DO, do=diary)
    assert diary.entries == [("open", UNSTARTED)]
    for at in (3, 5):
        run.feed("in", at)
    assert diary.entries[1:] == [("process", 3), ("process", 5)]
    run.close()
    assert diary.entries[3:] == [("close", DONE)]
    run.close()
    run.feed("in", 7)
    assert len(diary.entries) == 4 and run.ended_well()


def test_close_comes_after_an_error_too_and_once():
    class Fails(Diary):
        """Fails in process."""

        def process(self, node, ctx):
            super().process(node, ctx)
            raise RuntimeError("meant to fail")

    diary = Fails()
    run = Run(DO, do=diary)
    run.feed("in", 0)
    assert run.error is not None
    assert diary.entries == [("open", UNSTARTED), ("process", 0), ("close", DONE)]


def test_a_node_that_failed_in_open_is_not_closed_but_those_before_it_are():
    class Fails(Diary):
        """Fails in open."""

        def open(self, node, ctx):
            super().open(node, ctx)
            raise RuntimeError("no")

    first, second = Diary(), Fails()
    run = Run(PAIR, source=first, sink=second)
    assert run.error is not None
    assert first.entries == [("open", UNSTARTED), ("close", DONE)]
    assert second.entries == [("open", UNSTARTED)]


def test_every_run_has_calculators_of_its_own():
    graph = define(DO)
    diaries = [Diary(), Diary()]
    runs = [Run(graph, do=each) for each in diaries]
    runs[0].feed("in", 5)
    runs[1].feed("in", 3)
    for run in runs:
        run.close()
        assert run.ended_well()
    assert [each.entries[1] for each in diaries] == [("process", 5), ("process", 3)]

"""Laws of handlers that yield, with LOOPBACK and without, and of those that wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovms_mp.calculator.pyovms import Tensor
from ovms_mp.core.packet import Packet
from tests.unit.calculators.handlers import node
from tests.unit.calculators.listened import FREE, LOOP, Listened
from tests.wire.waiting import until

COUNT = """
from pyovms import Tensor
class OvmsPythonModel:
    %s execute(self, inputs):
        for number in range(int(bytes(inputs[0]))):
            yield [Tensor("out", str(number).encode())]
"""
SYNC, ASYNC = COUNT % "def", COUNT % "async def"


def numbered(first: int, count: int) -> list[tuple[int, bytes]]:
    return [(first + number, str(number).encode()) for number in range(count)]


GRAPHS = {
    "with a loop": LOOP,
    "without": FREE % "",
    "overlapping": FREE % "max_in_flight: 3",
}


@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["def", "async def"])
@pytest.mark.parametrize("pbtxt", GRAPHS.values(), ids=GRAPHS)
def test_lists_leave_at_the_inputs_timestamp_and_those_that_follow(
    tmp_path: Path, pbtxt: str, code: str
):
    graph = Listened(pbtxt, tmp_path, code)
    graph.start()
    graph.feed("in", Tensor("in", b"3"), at=7)
    graph.close()
    graph.join()
    assert graph.error is None
    assert graph.said() == numbered(7, 3)


@pytest.mark.parametrize("pbtxt", GRAPHS.values(), ids=GRAPHS)
def test_a_generation_of_nothing_is_over_at_once(tmp_path: Path, pbtxt: str):
    graph = Listened(pbtxt, tmp_path, SYNC)
    graph.start()
    graph.feed("in", Tensor("in", b"0"), at=0)
    graph.close()
    graph.join()
    assert graph.error is None and graph.said() == []


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("pbtxt", GRAPHS.values(), ids=GRAPHS)
def test_to_yield_nothing_is_no_end_but_a_mistake(
    tmp_path: Path, pbtxt: str, kind: str
):
    code = f"""
from pyovms import Tensor
class OvmsPythonModel:
    {kind} execute(self, inputs):
        yield [Tensor("out", b"first")]
        yield
        yield [Tensor("out", b"last")]
"""
    graph = Listened(pbtxt, tmp_path, code)
    graph.start()
    graph.feed("in", Tensor("in", b""), at=7)
    graph.close()
    graph.join()
    assert graph.said() == [(7, b"first")]
    assert graph.error is not None and graph.error.details is not None
    assert (
        "must yield lists of pyovms.Tensor, it yielded NoneType" in graph.error.details
    )


@pytest.mark.parametrize("pbtxt", [LOOP, FREE % ""], ids=["with a loop", "without"])
def test_the_next_generation_goes_on_where_time_is_free(tmp_path: Path, pbtxt: str):
    """Automatic timestamps are 0, 1, …, and the first generation used up three."""
    graph = Listened(pbtxt, tmp_path, SYNC)
    graph.start()
    graph.feed("in", Tensor("in", b"3"), at=0)
    graph.feed("in", Tensor("in", b"2"), at=1)
    graph.feed("in", Tensor("in", b"2"), at=100)
    graph.close()
    graph.join()
    # With a loop, the call that finds the generation exhausted has a time, too.
    second = 4 if pbtxt == LOOP else 3
    assert graph.said() == numbered(0, 3) + numbered(second, 2) + numbered(100, 2)


def test_a_very_long_generation_needs_no_stack(tmp_path: Path):
    graph = Listened(FREE % "", tmp_path, SYNC)
    graph.start()
    graph.feed("in", Tensor("in", b"5000"), at=0)
    assert len(graph.outputs["out"]) == 5000


def test_each_list_leaves_before_the_next_is_made(tmp_path: Path):
    """OVMS delivers each when the next is there, the last but one with the last."""
    code = """
    from pyovms import Tensor
    class OvmsPythonModel:
        made = 0
        def execute(self, inputs):
            for OvmsPythonModel.made in range(1, 4):
                yield [Tensor("out", str(self.made).encode())]
        def finalize(self):
            print(self.made)
    """
    for pbtxt in (LOOP, FREE % ""):
        graph = Listened(pbtxt, tmp_path, code)
        made = graph.definition.nodes[0].attributes["shared"].model._model
        seen: list[int] = []
        graph.heard = lambda packet, made=made, seen=seen: seen.append(made.made)
        graph.start()
        graph.feed("in", Tensor("in", b""), at=0)
        assert seen == [1, 2, 3]


def test_a_loop_refuses_new_data_while_it_generates(tmp_path: Path):
    """OVMS's text and code."""
    graph = Listened(LOOP, tmp_path, SYNC)
    graph.start()
    graph.heard = lambda packet: (
        graph.feed("in", Tensor("in", b"1"), at=1) if not packet.timestamp else None
    )
    graph.feed("in", Tensor("in", b"9"), at=0)
    graph.join()
    assert graph.error is not None
    assert graph.error.details == (
        "RESOURCE_EXHAUSTED: CalculatorGraph::Run() failed: Calculator::Process() for "
        'node "worker" failed: Node is already processing data. Create new stream for '
        "another request."
    )


def test_initialize_learns_about_the_loop_as_about_any_stream(tmp_path: Path):
    code = """
    from pyovms import Tensor
    class OvmsPythonModel:
        def initialize(self, kwargs):
            self.said = repr((kwargs["input_names"], kwargs["output_names"])).encode()
        def execute(self, inputs):
            return [Tensor("out", self.said)]
    """
    graph = Listened(LOOP, tmp_path, code)
    graph.start()
    graph.feed("in", Tensor("in", b""), at=0)
    graph.close()
    assert graph.error is None
    assert graph.said() == [(0, repr((["in", "loop"], ["out", "loop"])).encode())]


def test_a_loop_may_return_lists_as_well(tmp_path: Path):
    code = """
    from pyovms import Tensor
    class OvmsPythonModel:
        def execute(self, inputs):
            return [Tensor("out", inputs[0])]
    """
    graph = Listened(LOOP, tmp_path, code)
    graph.start()
    for at in (3, 4):
        graph.feed("in", Tensor("in", b"x"), at=at)
    graph.close()
    assert graph.is_done and graph.error is None
    assert graph.said() == [(3, b"x"), (4, b"x")]


ENDING = """
from pyovms import Tensor
class OvmsPythonModel:
    def initialize(self, kwargs):
        self.file = kwargs["base_path"] + "/ended"
    %s execute(self, inputs):
        number = 0
        try:
            while True:
                yield [Tensor("out", str(number).encode())]
                number += 1
        except GeneratorExit:
            with open(self.file, "w") as file:
                file.write(f"after {number}")
            raise
"""


@pytest.mark.parametrize("pbtxt", GRAPHS.values(), ids=GRAPHS)
def test_to_cancel_raises_generator_exit_in_the_handler(tmp_path: Path, pbtxt: str):
    graph = Listened(pbtxt, tmp_path, ENDING % "def")
    graph.start()

    def heard(packet: Packet) -> None:
        if bytes(packet.payload) == b"4":
            graph.cancel()

    graph.heard = heard
    graph.feed("in", Tensor("in", b""), at=0)
    graph.join()
    assert (tmp_path / "ended").read_text().startswith("after ")
    assert len(graph.outputs["out"]) <= 6  # one may be under way


def test_generations_of_one_stream_may_overlap(tmp_path: Path):
    """The first cannot end before the second has begun."""
    code = """
    import threading
    from pyovms import Tensor
    class OvmsPythonModel:
        def initialize(self, kwargs):
            self.second = threading.Event()
        def execute(self, inputs):
            name = bytes(inputs[0])
            yield [Tensor("out", name + b" begins")]
            if name == b"second":
                self.second.set()
            else:
                assert self.second.wait(30)
            yield [Tensor("out", name + b" ends")]
    """
    graph = Listened(FREE % "max_in_flight: 2", tmp_path, code)
    graph.start()
    graph.feed("in", Tensor("in", b"first"), at=0)
    graph.feed("in", Tensor("in", b"second"), at=1)
    graph.close()
    graph.join()
    assert graph.error is None
    times = [at for at, _ in graph.said()]
    assert times == sorted(set(times))
    assert {text for _, text in graph.said()} == {
        b"first begins",
        b"second begins",
        b"first ends",
        b"second ends",
    }


def test_calls_of_one_stream_may_overlap_and_answer_in_order(tmp_path: Path):
    code = """
    import threading
    from pyovms import Tensor
    class OvmsPythonModel:
        def initialize(self, kwargs):
            self.all_here = threading.Barrier(3)
        def execute(self, inputs):
            self.all_here.wait(30)
            return [Tensor("out", inputs[0])]
    """
    graph = Listened(FREE % "max_in_flight: 3", tmp_path, code)
    graph.start()
    for at in range(6):
        graph.feed("in", Tensor("in", str(at).encode()), at=at)
    graph.close()
    graph.join()
    assert graph.error is None
    assert graph.said() == numbered(0, 6)


# Coroutines


def test_an_async_execute_answers(tmp_path: Path):
    code = """
    import asyncio
    from pyovms import Tensor
    class OvmsPythonModel:
        async def execute(self, inputs):
            await asyncio.sleep(0)
            return [Tensor("out", bytes(inputs[0]).upper())]
    """
    runner = node(tmp_path, code)
    for at, text in enumerate([b"a", b"b"]):
        runner.feed("in", Tensor("in", text), at=at)
    runner.close()
    runner.join()
    assert runner.error is None
    assert [bytes(each.payload) for each in runner.outputs["out"]] == [b"A", b"B"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise ValueError('no')", "ValueError: no"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("return 5", "execute must return a list of pyovms.Tensor, it returned int"),
        (
            "yield 5",
            "execute must yield lists of pyovms.Tensor, it yielded int",
        ),
        ("yield []; raise ValueError('late')", "ValueError: late"),
    ],
)
def test_what_goes_wrong_in_a_coroutine_fails_its_run(
    tmp_path: Path, body: str, why: str
):
    code = f"class OvmsPythonModel:\n    async def execute(self, inputs):\n        {body}\n"
    for _ in range(2):  # the loop is as good as before
        runner = node(tmp_path, code)
        runner.feed("in", Tensor("in", b""), at=0)
        runner.close()
        runner.join()
        assert runner.error is not None
        assert runner.error.details is not None
        assert why in runner.error.details


CANCELLED = """
import asyncio
from pathlib import Path
from pyovms import Tensor
class OvmsPythonModel:
    def initialize(self, kwargs):
        self.folder = Path(kwargs["base_path"])
        self.started = asyncio.Event()
    async def execute(self, inputs):
        (self.folder / "started").touch()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            (self.folder / "cancelled").touch()
            raise
    async def close_session(self, session):
        assert (self.folder / "cancelled").exists()
        (self.folder / "closed").touch()
"""


def test_to_cancel_reaches_a_coroutine_and_its_session_closes_after_it(tmp_path: Path):
    graph = Listened(FREE % "", tmp_path, CANCELLED)
    graph.start()
    graph.feed("in", Tensor("in", b""), at=0)
    assert until((tmp_path / "started").exists)
    graph.cancel()
    graph.join()
    assert until((tmp_path / "closed").exists)


def test_an_async_generation_ends_with_its_stream(tmp_path: Path):
    graph = Listened(FREE % "", tmp_path, ENDING % "async def")
    graph.start()
    graph.heard = lambda packet: graph.cancel()
    graph.feed("in", Tensor("in", b""), at=0)
    graph.join()
    assert until((tmp_path / "ended").exists)

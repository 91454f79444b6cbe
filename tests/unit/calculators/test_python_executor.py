"""Laws of PythonExecutorCalculator, shown with handlers as users write them."""

from __future__ import annotations

import logging
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from ovms_mp.calculator.pyovms import Tensor
from ovms_mp.core.errors import Status
from ovms_mp.graph.runner import CalculatorRunner
from tests.unit.calculators.handlers import INCREMENT, ONE, node, refused


def failure(runner: CalculatorRunner) -> str:
    assert runner.is_done and runner.error is not None
    assert runner.error.status is Status.MEDIAPIPE_EXECUTION_ERROR
    head = (
        "INTERNAL: CalculatorGraph::Run() failed: "
        'Calculator::Process() for node "worker" failed: '
    )
    assert runner.error.details.startswith(head)
    return runner.error.details.removeprefix(head)


def executed(folder: Path, body: str) -> CalculatorRunner:
    """A node whose execute has this body, fed with one tensor."""
    code = "from pyovms import Tensor\nclass OvmsPythonModel:\n    def execute(self, inputs):\n"
    runner = node(folder, code + f"        {body}\n")
    runner.feed("in", Tensor("in", b"abc"), at=0)
    return runner


# The regular way


def test_what_execute_returns_leaves_at_the_inputs_timestamp(tmp_path: Path):
    runner = node(tmp_path, INCREMENT)
    runner.feed("in", Tensor("in", np.array([1, 2])), at=5)
    runner.feed("in", Tensor("in", np.array([3, 4])), at=9)
    runner.close()
    assert runner.is_done and runner.error is None
    received = [(at, np.array(tensor).tolist()) for at, tensor in runner.outputs["out"]]
    assert received == [(5, [2, 3]), (9, [4, 5])]


def test_inputs_come_in_the_order_of_their_tags(tmp_path: Path):
    code = """
    from pyovms import Tensor
    class OvmsPythonModel:
        def execute(self, inputs):
            return [Tensor("out", b"".join(bytes(t) for t in inputs))]
    """
    streams = (
        'input_stream: "C:first" input_stream: "A:second" input_stream: "B:1:fourth" '
        'input_stream: "B:0:third" output_stream: "OUT:out"'
    )
    runner = node(tmp_path, code, streams)
    for name, data in zip(("first", "second", "third", "fourth"), "cabd", strict=True):
        runner.feed(name, Tensor(name, data.encode()), at=0)
    assert bytes(runner.outputs["out"][0].payload) == b"abdc"


@pytest.mark.parametrize(
    "streams",
    [
        'input_stream: "in" output_stream: "out"',
        'input_stream: "IN:in" output_stream: "OUT:out"',
        'input_stream: "IN:0:in" output_stream: "OUT:0:out"',
        'input_stream: "in" output_stream: "OUT:0:out"',
    ],
)
def test_streams_may_have_a_tag_an_index_or_neither(tmp_path: Path, streams: str):
    runner = node(tmp_path, INCREMENT, streams)
    runner.feed("in", Tensor("in", np.array([1])), at=0)
    assert runner.error is None
    assert np.array(runner.outputs["out"][0].payload).tolist() == [2]


def test_streams_of_one_tag_are_told_apart_by_their_indexes(tmp_path: Path):
    """OVMS knows one stream of a tag: of these it would read and write the first."""
    code = """
    from pyovms import Tensor
    class OvmsPythonModel:
        def initialize(self, kwargs):
            assert kwargs["input_names"] == ["second", "first", "third"]
            assert kwargs["output_names"] == ["b", "a"]
        def execute(self, inputs):
            names = [each.name for each in inputs]
            return [Tensor("a", " ".join(names).encode()), Tensor("b", inputs[-1])]
    """
    streams = (
        'input_stream: "IN:1:second" input_stream: "IN:0:first" '
        'input_stream: "IN:2:third" '
        'output_stream: "OUT:1:b" output_stream: "OUT:0:a"'
    )
    runner = node(tmp_path, code, streams)
    for name in ("third", "first", "second"):
        runner.feed(name, Tensor(name, name.encode()), at=0)
    assert runner.error is None
    assert bytes(runner.outputs["a"][0].payload) == b"first second third"
    assert bytes(runner.outputs["b"][0].payload) == b"third"


def test_inputs_without_a_packet_are_left_out(tmp_path: Path):
    code = """
    from pyovms import Tensor
    class OvmsPythonModel:
        def execute(self, inputs):
            return [Tensor("out", ",".join(t.name for t in inputs).encode())]
    """
    streams = 'input_stream: "A:a" input_stream: "B:b" output_stream: "OUT:out"'
    runner = node(tmp_path, code, streams)
    runner.feed("a", Tensor("a", b""), at=0)
    runner.feed("b", Tensor("b", b""), at=1)
    runner.feed("a", Tensor("a", b""), at=2)
    runner.feed("b", Tensor("b", b""), at=2)
    runner.close()
    assert [bytes(p.payload) for p in runner.outputs["out"]] == [b"a", b"b", b"a,b"]


@pytest.mark.parametrize(
    "handler",
    [
        'input_stream_handler: "ImmediateInputStreamHandler"',
        'input_stream_handler: "SyncSetInputStreamHandler" options '
        "{ [mediapipe.SyncSetInputStreamHandlerOptions.ext] "
        '{ sync_set { tag_index: "A:0" } } }',
    ],
    ids=["immediate", "sync sets"],
)
def test_a_call_that_answers_nothing_keeps_no_other_from_its_timestamp(
    tmp_path: Path, handler: str
):
    code = """
    from pyovms import Tensor
    class OvmsPythonModel:
        def execute(self, inputs):
            return [Tensor("out", b"") for each in inputs if each.name == "b"]
    """
    streams = 'input_stream: "A:a" input_stream: "B:b" output_stream: "OUT:out"'
    handled = f"{streams} input_stream_handler {{ {handler} }}"
    runner = node(tmp_path, code, handled)
    runner.feed("a", Tensor("a", b""), at=5)
    runner.feed("b", Tensor("b", b""), at=5)
    runner.close()
    assert runner.error is None
    assert [packet.timestamp for packet in runner.outputs["out"]] == [5]


def test_outputs_are_chosen_by_name_and_may_be_left_out(tmp_path: Path):
    code = """
    from pyovms import Tensor
    class OvmsPythonModel:
        def execute(self, inputs):
            return [Tensor(n, b"x") for n in bytes(inputs[0]).decode().split()]
    """
    streams = 'input_stream: "IN:in" output_stream: "X:first" output_stream: "Y:second"'
    runner = node(tmp_path, code, streams)
    for at, names in enumerate([b"second first", b"second", b""]):
        runner.feed("in", Tensor("in", names), at=at)
    assert [packet.timestamp for packet in runner.outputs["first"]] == [0]
    assert [packet.timestamp for packet in runner.outputs["second"]] == [0, 1]


def test_a_tensor_may_have_a_datatype_of_its_authors(tmp_path: Path):
    runner = executed(tmp_path, 'return [Tensor("out", b"x", [7], "mine")]')
    tensor = runner.outputs["out"][0].payload
    assert (tensor.datatype, tensor.shape) == ("mine", (7,))


def test_inputs_are_read_only(tmp_path: Path):
    body = "import numpy; numpy.asarray(inputs[0])[0] = 1"
    assert failure(executed(tmp_path, body)).startswith("ValueError: ")


def test_initialize_learns_about_the_node(tmp_path: Path):
    code = """
    from pyovms import Tensor
    class OvmsPythonModel:
        def initialize(self, kwargs):
            self.kwargs = kwargs
            return "ignored"
        def execute(self, inputs):
            return [Tensor("out", repr(sorted(self.kwargs.items())).encode())]
    """
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "model.py").write_text(dedent(code))
    streams = 'input_stream: "B:in" input_stream: "A:two" output_stream: "OUT:out"'
    runner = node(tmp_path, None, streams, handler_path="deep/model.py")
    runner.feed("in", Tensor("in", b""), at=0)
    runner.feed("two", Tensor("two", b""), at=0)
    expected = [
        ("base_path", str(tmp_path / "deep")),
        ("input_names", ["in", "two"]),
        ("node_name", "worker"),
        ("output_names", ["out"]),
    ]
    assert bytes(runner.outputs["out"][0].payload).decode() == repr(expected)


def test_an_absolute_handler_path_is_taken_as_it_is(tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "model.py").write_text(INCREMENT)
    runner = node(tmp_path, None, handler_path=str(elsewhere / "model.py"))
    runner.feed("in", Tensor("in", np.array([1])), at=0)
    assert np.array(runner.outputs["out"][0].payload).tolist() == [2]


def test_a_handler_without_initialize_and_finalize_is_complete(tmp_path: Path):
    runner = node(tmp_path, INCREMENT)
    runner.unload()


# What is refused when the graph is loaded


@pytest.mark.parametrize(
    ("streams", "why"),
    [
        (
            f'{ONE} input_stream: "LOOPBACK:l" output_stream: "LOOPBACK:m" '
            "max_in_flight: 2",
            "LOOPBACK excludes a max_in_flight above 1",
        ),
        (
            f'{ONE} input_stream: "LOOPBACK:l"',
            "If LOOPBACK is used, it must be defined on both input and output of the "
            "node",
        ),
        (
            f'{ONE} output_stream: "LOOPBACK:l"',
            "If LOOPBACK is used, it must be defined on both input and output of the "
            "node",
        ),
        ('output_stream: "OUT:out"', "input stream of any tag is missing"),
    ],
)
def test_streams_that_cannot_work_are_refused(tmp_path: Path, streams: str, why: str):
    error = refused(tmp_path, INCREMENT, streams=streams)
    assert error.status is Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR
    assert why in error.details


def test_the_side_packet_with_the_resources_is_required(tmp_path: Path):
    error = refused(tmp_path, INCREMENT, side="")
    assert error.status is Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR
    assert "input side packet PYTHON_NODE_RESOURCES is missing" in error.details


def test_a_node_without_a_name_is_refused(tmp_path: Path):
    assert refused(tmp_path, INCREMENT, name="").status is (
        Status.PYTHON_NODE_MISSING_NAME
    )


# What fails a run, and nothing else


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return None", "a list of pyovms.Tensor, it returned NoneType"),
        ("return Tensor('out', b'')", "a list of pyovms.Tensor, it returned Tensor"),
        ("return (Tensor('out', b''),)", "a list of pyovms.Tensor, it returned tuple"),
        ("return ['x']", "execute returned contains str, not pyovms.Tensor"),
        ("return [None]", "execute returned contains NoneType, not pyovms.Tensor"),
        (
            "return [Tensor('wrong', b'')]",
            'tensor "wrong", which is no output stream of the node: "out"',
        ),
        (
            "return [Tensor('out', b''), Tensor('out', b'')]",
            'execute returned tensor "out" twice',
        ),
        (
            "return (each for each in inputs)",
            "TypeError: execute must yield lists of pyovms.Tensor, it yielded Tensor",
        ),
        (
            "yield [Tensor('other', b'')]",
            'tensor "other", which is no output stream of the node: "out"',
        ),
        ("return inputs[1]", "IndexError: list index out of range"),
        ("import no_such_module", "ModuleNotFoundError: No module named"),
        ("1/0", "ZeroDivisionError: division by zero"),
        ("raise ValueError('see /etc/very/secret')", "ValueError: see secret"),
        ("import sys; sys.exit(1)", "SystemExit: 1"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("return self.execute(inputs)", "RecursionError: maximum recursion depth"),
    ],
)
def test_an_execute_that_goes_wrong_fails_its_run_with_the_reason(
    tmp_path: Path, body: str, why: str
):
    runner = executed(tmp_path, body)
    assert why in failure(runner)
    assert runner.outputs["out"] == []


def test_an_execute_of_another_signature_fails_its_run(tmp_path: Path):
    runner = node(tmp_path, "class OvmsPythonModel:\n    def execute(self): pass")
    runner.feed("in", Tensor("in", b""), at=0)
    assert "TypeError: " in failure(runner)


def test_the_traceback_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.ERROR):
        executed(tmp_path, "1/0")
    assert "handler.py" in caplog.text and "ZeroDivisionError" in caplog.text


def test_a_payload_that_is_no_tensor_fails_the_run(tmp_path: Path):
    runner = node(tmp_path, INCREMENT)
    runner.feed("in", np.zeros(1), at=0)
    assert runner.error is not None
    assert runner.error.details.endswith(
        'The Packet stores "ndarray", but "Tensor" was requested.'
    )

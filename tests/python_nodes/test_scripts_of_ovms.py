"""The scripts that OVMS tests its Python nodes with, written anew: what each does here, in
the server and in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import grpc
import numpy as np
import pytest

from tests.python_nodes.site import LOOPBACK, PROCESS, graph, served
from tests.wire.calls import Stream, arrays, ask, infer, refusal, timestamp
from tests.wire.servers import Server
from tests.wire.waiting import until

PRELUDE: Final = "import numpy as np\nfrom pyovms import Tensor\n"


def execute(body: str, *more: str) -> str:
    """A handler whose execute has this body."""
    methods = "".join(f"    {each}\n" for each in more)
    return (
        f"{PRELUDE}class OvmsPythonModel:\n{methods}"
        f"    def execute(self, inputs):\n        {body}\n"
    )


ADD_TWO = execute("return [Tensor('out', np.array(inputs[0]) + np.array(inputs[1]))]")
CONCATENATE = execute("return [Tensor('out', np.concatenate(inputs))]")
INCREMENT = execute("return [Tensor('out', np.array(inputs[0]) + 1)]")
BY_NAME = execute(
    "return [Tensor(n, np.array(t) + 1) "
    "for n, t in zip(self.outputs, sorted(inputs, key=lambda t: t.name))]",
    "def initialize(self, kwargs): self.outputs = sorted(kwargs['output_names'])",
)
GENERATOR = execute(
    """value = np.array(inputs[0])
        for _ in range(3):
            value = value + 1
            yield [Tensor('out', value)]"""
)
ARGUMENTS = execute(
    "return [Tensor('out', np.array([self.right]))]",
    "def initialize(self, kwargs): self.right = sorted(kwargs) == "
    "['base_path', 'input_names', 'node_name', 'output_names'] "
    "and kwargs['node_name'] == 'worker'",
)
MEMBERS = execute(
    "return [Tensor('out', np.array([self.count]))]",
    "count = 41",
    "def initialize(self, kwargs): self.count += 1",
)
BASE_PATH = execute(
    "return [Tensor('out', np.array([self.is_here]))]",
    "def initialize(self, kwargs):",
    "    import os",
    "    self.is_here = os.path.isfile(kwargs['base_path'] + '/handler.py')",
)
BY_TWO = execute("return [Tensor('out', np.array(inputs[0]) + 2)]")
REMOVE_FILE = execute(
    "return [Tensor('out', np.array(inputs[0]))]",
    "def initialize(self, kwargs): self.file = kwargs['base_path'] + '/file'",
    "def finalize(self):",
    "    import os",
    "    os.remove(self.file)",
)
SCALARS = "import struct\n" + execute(
    """return [
            Tensor('out', struct.pack('f', struct.unpack('f', bytes(each))[0] + 1))
            for each in inputs
        ]"""
)
CUSTOM = execute("return [Tensor('out', np.array('my string'))]")
LETTER = execute("return [Tensor('out', inputs[0].data.format.encode())]")
MINE = execute("return [Tensor('out', b'abc', [3], 'mine')]")


# Name, code, and the options of the graph; good ones with what [1, 2] becomes.
ANSWERS: Final[Mapping[str, tuple[str, list[float]]]] = {
    "single_io_increment": (INCREMENT, [2, 3]),
    "single_io_increment_by_2": (BY_TWO, [3, 4]),
    "symmetric_increment": (BY_NAME, [2, 3]),
    "symmetric_increment_by_2": (BY_NAME.replace("+ 1", "+ 2"), [3, 4]),
    "good_initialize_with_arguments": (ARGUMENTS, [True]),
    "good_initialize_with_class_members": (MEMBERS, [42]),
    "bad_initialize_no_method": (INCREMENT, [2, 3]),  # it is optional
    "good_finalize_missing_definition": (INCREMENT, [2, 3]),
    "good_finalize_pass": (
        execute(
            "return [Tensor('out', np.array(inputs[0]))]", "def finalize(self): pass"
        ),
        [1, 2],
    ),
    "relative_base_path": (BASE_PATH, [True]),
}
REFUSED: Final[Mapping[str, tuple[str, str]]] = {
    "bad_initialize_throw_exception": (
        execute("return []", "def initialize(self, kwargs): raise ValueError('no')"),
        "handler.py:4: ValueError: no",
    ),
    "bad_initialize_import_outside_class_error": (
        f"import no_such_module\n{INCREMENT}",
        "handler.py:1: ModuleNotFoundError",
    ),
    "bad_execute_no_method": (
        "class OvmsPythonModel:\n    pass\n",
        "class OvmsPythonModel has no method execute",
    ),
    "bad_missing_class": (PRELUDE, "class OvmsPythonModel is missing"),
}
FAILING: Final[Mapping[str, tuple[str, str]]] = {
    "bad_execute_illegal_operation": (execute("1 / 0"), "ZeroDivisionError"),
    "bad_execute_import_error": (
        execute("import no_such_module"),
        "ModuleNotFoundError",
    ),
    "bad_execute_read_more_than_one_input": (
        execute("return [inputs[1]]"),
        "IndexError: list index out of range",
    ),
    "bad_execute_wrong_return_value": (execute("return 5"), "it returned int"),
    "bad_execute_wrong_signature": (
        "class OvmsPythonModel:\n    def execute(self): return []\n",
        "TypeError: OvmsPythonModel.execute() takes 1 positional argument",
    ),
    "return_none_object": (execute("return None"), "it returned NoneType"),
    "return_non_tensor_object": (execute("return [3]"), "contains int"),
}
WHERE: Final = {"inside": "", "outside": PROCESS}


def graphs() -> Iterator[tuple[str, tuple[str, str]]]:
    for where, options in WHERE.items():
        for table in (ANSWERS, REFUSED, FAILING):
            for name, (code, _) in table.items():
                yield f"{where}_{name}", (graph(options=options), code)
        two = graph(options=options, inputs=("in", "in2"))
        yield f"{where}_add_two_inputs", (two, ADD_TWO)
        yield f"{where}_concatenate_input_arrays", (two, CONCATENATE)
        four = graph(options=options, inputs=("in", "in2"), outputs=("out", "out2"))
        yield f"{where}_symmetric_two", (four, BY_NAME)
        yield (
            f"{where}_symmetric_scalar_increment_generator",
            (graph(*LOOPBACK, options=options), GENERATOR),
        )
        alone = graph(options=options)
        yield f"{where}_return_custom_datatype", (alone, CUSTOM)
        yield f"{where}_return_datatype_of_mine", (alone, MINE)
        yield f"{where}_return_letter", (alone, LETTER)
        yield f"{where}_symmetric_scalar_increment", (alone, SCALARS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("scripts"), dict(graphs())) as server:
        yield server


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel


NUMBERS: Final = np.array([1, 2], np.float32)


@pytest.mark.timeout(240)  # the first of them starts them all
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", ANSWERS)
def test_a_good_script_answers(channel: grpc.Channel, where: str, name: str) -> None:
    answer = infer(channel, ask(f"{where}_{name}", {"in": NUMBERS}))
    assert arrays(answer) == {"out": ANSWERS[name][1]}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_script_is_refused_at_load(server: Server, where: str, name: str) -> None:
    graph_name = f"{where}_{name}"
    assert not server.app.catalog.is_servable_ready(graph_name, "")
    assert server.said(f"graph {graph_name}:", REFUSED[name][1])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", FAILING)
def test_a_script_that_fails_tells_why(
    channel: grpc.Channel, where: str, name: str
) -> None:
    code, said = refusal(channel, ask(f"{where}_{name}", {"in": NUMBERS}))
    assert (code, FAILING[name][1] in said) == ("INVALID_ARGUMENT", True), said


@pytest.mark.timeout(240)
@pytest.mark.parametrize("where", WHERE)
def test_two_inputs_are_added_and_joined(channel: grpc.Channel, where: str) -> None:
    both = {"in": NUMBERS, "in2": NUMBERS * 10}
    answer = infer(channel, ask(f"{where}_add_two_inputs", both))
    assert arrays(answer) == {"out": [11, 22]}
    answer = infer(channel, ask(f"{where}_concatenate_input_arrays", both))
    assert arrays(answer) == {"out": [1, 2, 10, 20]}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("where", WHERE)
def test_several_outputs_are_told_apart_by_name(
    channel: grpc.Channel, where: str
) -> None:
    both = {"in": NUMBERS, "in2": NUMBERS * 10}
    answer = infer(channel, ask(f"{where}_symmetric_two", both))
    assert arrays(answer) == {"out": [2, 3], "out2": [11, 21]}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("where", WHERE)
def test_a_generator_counts_timestamps_up(channel: grpc.Channel, where: str) -> None:
    name = f"{where}_symmetric_scalar_increment_generator"
    with Stream(channel, ask(name, {"in": NUMBERS}, at=10)) as stream:
        stream.half_close()
        answers = [(timestamp(each), arrays(each)["out"]) for each in stream.rest()]
    assert answers == [(10, [2, 3]), (11, [3, 4]), (12, [4, 5])]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("where", WHERE)
def test_a_custom_datatype_leaves_as_it_was_named(
    channel: grpc.Channel, where: str
) -> None:
    answer = infer(channel, ask(f"{where}_return_datatype_of_mine", {"in": NUMBERS}))
    (output,) = answer.outputs
    assert (output.datatype, list(output.shape)) == ("mine", [3])
    assert answer.raw_output_contents[0] == b"abc"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("where", WHERE)
def test_elements_that_no_datatype_names_leave_under_their_format(
    channel: grpc.Channel, where: str
) -> None:
    """A text of numpy's; OVMS's test expects the same name."""
    answer = infer(channel, ask(f"{where}_return_custom_datatype", {"in": NUMBERS}))
    (output,) = answer.outputs
    assert (output.datatype, list(output.shape)) == ("9w", [])
    assert answer.raw_output_contents[0] == "my string".encode("utf-32-le")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    ("dtype", "letter"), [("<i8", "q"), ("<u8", "Q"), ("<f4", "f")]
)
def test_elements_of_a_request_have_the_letter_that_ovms_documents(
    channel: grpc.Channel, where: str, dtype: str, letter: str
) -> None:
    answer = infer(channel, ask(f"{where}_return_letter", {"in": np.zeros(2, dtype)}))
    assert answer.raw_output_contents[0] == letter.encode()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("where", WHERE)
def test_a_scalar_is_incremented(channel: grpc.Channel, where: str) -> None:
    scalar = {"in": np.array(1, np.float32)}
    answer = infer(channel, ask(f"{where}_single_io_increment", scalar))
    assert arrays(answer) == {"out": 2}
    assert list(answer.outputs[0].shape) == []
    answer = infer(channel, ask(f"{where}_symmetric_scalar_increment", scalar))
    (output,) = answer.outputs
    assert (output.datatype, list(output.shape)) == ("UINT8", [4])
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [2]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("where", WHERE)
def test_a_tensor_without_elements_keeps_its_dimensions(
    channel: grpc.Channel, where: str
) -> None:
    nothing = {"in": np.empty((1, 32, 32, 0, 1), np.float32)}
    answer = infer(channel, ask(f"{where}_single_io_increment", nothing))
    (output,) = answer.outputs
    assert (output.datatype, list(output.shape)) == ("FP32", [1, 32, 32, 0, 1])
    assert list(answer.raw_output_contents) == [b""]


@pytest.mark.parametrize("where", WHERE)
def test_a_script_finalizes_once_when_its_graph_is_unloaded(
    tmp_path: Path, where: str
) -> None:
    """good_finalize_remove_file; a second time it would fail, as bad_finalize_exception
    does, which is in the log and harms nobody.
    """
    options = graph(options=WHERE[where])
    with served(tmp_path / "once", {"scripts": (options, REMOVE_FILE)}) as server:
        file = next(tmp_path.rglob("handler.py")).with_name("file")
        file.touch()
        with server.connect() as channel:
            infer(channel, ask("scripts", {"in": NUMBERS}))
        assert file.exists()
    assert not file.exists()
    assert not server.said("finalize failed")
    with served(tmp_path / "again", {"scripts": (options, REMOVE_FILE)}) as server:
        pass  # there is no file
    assert until(lambda: server.said("finalize failed"))

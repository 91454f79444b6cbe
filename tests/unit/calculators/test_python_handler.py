"""Laws of handler files: how they are loaded, refused and finalized."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from ovms_mp.calculator import pyovms
from ovms_mp.calculator.pyovms import Tensor
from ovms_mp.core.errors import ServingError, Status
from tests.unit.calculators.handlers import INCREMENT, chain, node, refused
from tests.unit.calculators.support import GraphOf

FAILED = Status.PYTHON_NODE_FILE_STATE_INITIALIZATION_FAILED
COUNT = """
from pyovms import Tensor

class OvmsPythonModel:
    def initialize(self, kwargs):
        self.calls = 0

    def execute(self, inputs):
        self.calls += 1
        return [Tensor("s1", str(self.calls).encode())]
"""


def test_a_node_keeps_its_instance_as_long_as_the_graph_is_loaded(tmp_path: Path):
    (tmp_path / "handler.py").write_text(COUNT)
    graph = GraphOf(chain("handler.py"), base_path=tmp_path)
    for run in range(2):
        graph.start()
        graph.feed("s0", Tensor("s0", b""), at=0)
        graph.close()
        assert graph.is_done and graph.error is None
        assert bytes(graph.outputs["s1"][run].payload) == str(run + 1).encode()
    other = GraphOf(chain("handler.py"), base_path=tmp_path)
    other.start()
    other.feed("s0", Tensor("s0", b""), at=0)
    assert bytes(other.outputs["s1"][0].payload) == b"1"


# Modules


def test_files_of_the_same_name_do_not_meet(tmp_path: Path):
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        code = INCREMENT.replace("+ 1", f"+ {number * 10}").replace("out", f"s{number}")
        (folder / "model.py").write_text(code)
    run = GraphOf(chain("1/model.py", "2/model.py"), base_path=tmp_path)
    run.start()
    run.feed("s0", Tensor("s0", np.array([1])), at=0)
    assert np.array(run.outputs["s2"][0].payload).tolist() == [31]


def test_a_handler_imports_its_neighbours_and_takes_nobodys_name(tmp_path: Path):
    (tmp_path / "my_neighbour.py").write_text("VALUE = 41\n")
    (tmp_path / "json.py").write_text("raise RuntimeError('not the json you mean')\n")
    code = """
    from __future__ import annotations
    from dataclasses import dataclass
    import json, my_neighbour
    from pyovms import Tensor
    @dataclass
    class Settings:
        value: int = my_neighbour.VALUE
    class OvmsPythonModel:
        def execute(self, inputs):
            return [Tensor("out", json.dumps(Settings().value).encode())]
    """
    before = set(sys.modules)
    runner = node(tmp_path, code)
    runner.feed("in", Tensor("in", b""), at=0)
    assert bytes(runner.outputs["out"][0].payload) == b"41"
    assert "handler" not in sys.modules
    runner.unload()
    sys.modules.pop("my_neighbour")
    assert {name for name in sys.modules if "handler" in name} <= before


def test_pyovms_is_the_module_whose_tensors_the_server_makes(tmp_path: Path):
    node(tmp_path, INCREMENT)
    assert sys.modules["pyovms"] is pyovms


def test_a_neighbour_that_came_later_is_found(tmp_path: Path):
    """Even when the time of the directory does not tell."""
    code = "import late_neighbour\n" + INCREMENT
    refused(tmp_path, code)
    then = tmp_path.stat().st_mtime_ns
    (tmp_path / "late_neighbour.py").write_text("")
    os.utime(tmp_path, ns=(then, then))
    node(tmp_path, None)


def test_a_handler_that_changed_is_loaded_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Even when neither its size nor the second of its change tells."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for addend in (1, 2):
        file = tmp_path / "handler.py"
        file.write_text(INCREMENT.replace("+ 1", f"+ {addend}"))
        os.utime(file, (1, 1))
        runner = node(tmp_path, None)
        runner.feed("in", Tensor("in", np.array([0])), at=0)
        assert np.array(runner.outputs["out"][0].payload).tolist() == [addend]
    assert not (tmp_path / "__pycache__").exists()


# What is refused when the graph is loaded


def test_a_file_that_is_not_there_is_named_without_its_path(tmp_path: Path):
    error = refused(tmp_path, None, handler_path="deep/nothing.py")
    assert error.status is Status.PYTHON_NODE_FILE_DOES_NOT_EXIST
    assert error.details == 'node:1: node "worker": nothing.py'


def test_a_folder_is_no_file(tmp_path: Path):
    error = refused(tmp_path, None, handler_path=".")
    assert error.status is Status.PYTHON_NODE_FILE_DOES_NOT_EXIST


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("", "class OvmsPythonModel is missing"),
        ("def OvmsPythonModel(): pass", "class OvmsPythonModel is missing"),
        ("class OvmsPythonModel: pass", "class OvmsPythonModel has no method execute"),
        (
            "class OvmsPythonModel:\n    execute = 5",
            "class OvmsPythonModel has no method execute",
        ),
    ],
)
def test_a_file_without_a_handler_is_refused(tmp_path: Path, code: str, why: str):
    error = refused(tmp_path, code)
    assert error.status is FAILED
    assert error.details == f'node:1: node "worker": handler.py: {why}'


@pytest.mark.parametrize(
    ("code", "where"),
    [
        ("import no_such_module", "1: ModuleNotFoundError: No module named"),
        ("\n\nclass ():", "3: SyntaxError: invalid syntax"),
        ("1/0", "1: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)", "2: SystemExit: 3"),
        ("\nraise KeyboardInterrupt", "2: KeyboardInterrupt"),
        (
            "class OvmsPythonModel:\n  def __init__(self):\n    raise OSError('bad')",
            "3: OSError: bad",
        ),
        (
            "class OvmsPythonModel:\n  def execute(self, i): pass\n"
            "  def initialize(self, kwargs):\n    raise ValueError('no /etc/very/secret')",
            "4: ValueError: no secret",
        ),
        (
            "class OvmsPythonModel:\n  def execute(self, i): pass\n"
            "  def initialize(self): pass",
            " TypeError: ",
        ),
        (
            "class E(Exception):\n  def __str__(self): raise self\nraise E",
            "3: E",
        ),
        ("x = '\\0" + chr(0) + "'", " SyntaxError: source code"),
    ],
)
def test_a_file_that_fails_is_refused_with_line_and_reason(
    tmp_path: Path, code: str, where: str
):
    error = refused(tmp_path, code)
    assert error.status is FAILED
    assert error.details.startswith(f'node:1: node "worker": handler.py:{where}')
    assert str(tmp_path) not in error.text


def test_a_file_that_fails_leaves_no_module_behind(tmp_path: Path):
    before = set(sys.modules)
    refused(tmp_path, "1/0")
    assert set(sys.modules) - before <= {"pyovms"}


def test_an_async_open_session_needs_an_async_execute(tmp_path: Path):
    code = """
    class OvmsPythonModel:
        async def open_session(self): pass
        def execute(self, inputs, session): return []
    """
    assert refused(tmp_path, code).details == (
        'node:1: node "worker": handler.py: OvmsPythonModel.open_session is async and '
        "execute is not"
    )


# Unloading


FINALIZE = """
class OvmsPythonModel:
    def initialize(self, kwargs):
        self.file = kwargs["base_path"] + "/finalized"
    def execute(self, inputs):
        return []
    def finalize(self):
        with open(self.file, "a") as file:
            file.write("x")
        %s
"""


def test_finalize_is_called_when_the_graph_is_unloaded(tmp_path: Path):
    runner = node(tmp_path, FINALIZE % "pass")
    runner.close()
    assert not (tmp_path / "finalized").exists()
    runner.unload()
    assert (tmp_path / "finalized").read_text() == "x"


@pytest.mark.parametrize("problem", ["1/0", "raise SystemExit(2)"])
def test_a_finalize_that_fails_is_only_logged(
    tmp_path: Path, problem: str, caplog: pytest.LogCaptureFixture
):
    runner = node(tmp_path, FINALIZE % problem)
    runner.unload()
    assert 'node "worker": finalize failed' in caplog.text


def test_a_graph_that_fails_to_load_finalizes_what_it_has_loaded(tmp_path: Path):
    (tmp_path / "good.py").write_text(FINALIZE % "pass")
    (tmp_path / "bad.py").write_text("1/0")
    graph = chain("good.py", "bad.py")
    with pytest.raises(ServingError, match=r"bad\.py:1: ZeroDivisionError"):
        GraphOf(graph, base_path=tmp_path)
    assert (tmp_path / "finalized").read_text() == "x"

"""`ovms-mp validate`, `explain`, `status` and `bench` say what a server would do, and does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from ovms_mp.cli import main
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.servers import serving

GOOD = """\
input_stream: "in"
output_stream: "out"
node {
  calculator: "PassThroughCalculator"
  input_stream: "in"
  output_stream: "out"
}
"""
BAD = GOOD.replace("PassThrough", "NoSuch")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of two graphs, one of which is wrong."""
    for name, text in (("good", GOOD), ("bad", BAD)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "graph.pbtxt").write_text(text)
    graphs = [{"name": "good"}, {"name": "bad"}]
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps({"model_config_list": [], "mediapipe_config_list": graphs})
    )
    return file


def test_each_problem_is_a_line_with_its_place(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(config)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("graph bad: ")
    assert "graph.pbtxt:3" in line
    assert "NoSuchCalculator" in line


def test_whatever_is_wrong_is_a_line_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An entry, a model's file, a handler, a subconfig, a calculator, a missing model."""
    for name in ("model", "graph"):
        (tmp_path / name / "1").mkdir(parents=True)
    (tmp_path / "model" / "1" / "model.onnx").write_text("not anything")
    zoo.add_graph(tmp_path, "handler", zoo.words(), speaker="raise LookupError('no')")
    zoo.add_graph(tmp_path, "named", zoo.GRAPHS["add"])
    home = zoo.add_graph(tmp_path, "sub", zoo.ECHO)
    (home / "subconfig.json").write_text("{")
    calculators = tmp_path / "calculators"
    calculators.mkdir()
    (calculators / "own.py").write_text("class (")
    config = zoo.write_config(
        tmp_path,
        [zoo.entry("model"), zoo.entry("shape", shape="1,2")],
        [{"name": name} for name in ("handler", "named", "sub")],
    )
    assert main(["validate", str(config)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    for beginning, reason in (
        ("model model: ", "model.onnx"),
        ("config shape: ", "'1,2': expected (1,3"),
        ("graph handler: ", "speaker.py:1: LookupError: no"),
        ("graph named: ", 'model "add_one"'),
        ("config sub: ", "line 1, column 2"),
    ):
        (line,) = (each for each in lines if each.startswith(beginning))
        assert reason in line
    path = ["--calculators_path", str(calculators)]
    assert main(["validate", str(config), *path]) == 1
    assert "calculators own.py: cannot be imported: SyntaxError" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("which", ["good", "."])
def test_what_a_server_would_serve_is_valid(
    config: Path, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "bad" / "graph.pbtxt").write_text(GOOD)
    assert main(["validate", str(config.parent / which)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("which", ["good/graph.pbtxt", "m", "m/1/model.xml"])
def test_the_file_of_a_model_or_graph_will_do(
    config: Path, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo.add_model(config.parent, "m", tiny.add_one())
    assert main(["validate", str(config.parent / which)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["validate", "good/other.pbtxt"], "name it in a config as graph_path"),
        (["explain", "m"], "m is a model's; expected the folder of a graph"),
        (["explain", "m/1/model.xml"], "model.xml is a model's; expected the folder"),
        (["explain", "empty"], "empty has neither; expected the folder of a graph"),
    ],
    ids=["pbtxt", "model", "model's file", "nothing"],
)
def test_what_a_command_is_not_for_is_told_with_what_it_is_for(
    config: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = config.parent
    zoo.add_model(folder, "m", tiny.add_one())
    (folder / "empty").mkdir()
    (folder / "good" / "other.pbtxt").write_text(GOOD)
    command, which = arguments
    assert main([command, str(folder / which)]) == 64
    assert said in capsys.readouterr().err


def test_a_config_that_breaks_its_schema_is_a_line_with_the_place(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text('{"model_config_list": [{"config": {"title": "m"}}]}')
    assert main(["validate", str(config)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert f"{config}: model_config_list[0].config.title: unknown key" in line


def test_a_folder_without_anything_to_serve_is_not_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith(f"model {tmp_path.name}: ")


def test_status_tells_states_and_why_something_is_not_served(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(config) as server:
        assert main(["status", server.address]) == 1
        ready, good, bad = capsys.readouterr().out.splitlines()
        assert ready == f"{server.address} is not ready"
        assert good.split() == ["good", "1", "READY"]
        assert bad.split()[:3] == ["bad", "1", "UNAVAILABLE"]
        assert "graph.pbtxt:3" in bad
        (config.parent / "bad" / "graph.pbtxt").write_text(GOOD)
        server.app.reload()
        assert main(["status", server.address]) == 0
        assert capsys.readouterr().out.splitlines()[0] == f"{server.address} is ready"


def test_status_tells_why_a_reload_failed_of_what_is_served_still(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "bad" / "graph.pbtxt").write_text(GOOD)
    with serving(config) as server:
        (config.parent / "good" / "graph.pbtxt").write_text(BAD)
        server.app.reload()
        assert main(["status", server.address]) == 1
        (good,) = (
            line
            for line in capsys.readouterr().out.splitlines()
            if line.startswith("good ")
        )
        assert good.split()[:3] == ["good", "1", "READY"]
        assert "NoSuchCalculator" in good


def test_a_server_that_does_not_answer_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody else gets it, and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["status", address]) == 1
    assert capsys.readouterr().out.startswith(f"{address}: UNAVAILABLE: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate"],
        ["explain"],
        ["bench"],
        ["bench", "a"],
        ["status"],
        ["status", "a", "b"],
    ],
)
def test_wrong_usage_of_a_command_is_64(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 64
    assert capsys.readouterr().err.startswith("error parsing options: ")


def test_explain_says_what_a_graph_is_and_draws_it(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    svg = config.parent / "good.svg"
    assert main(["explain", str(config), "good", "--svg", str(svg)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "graph good: 1 nodes, at most 100 packets wait at an input"
    assert lines[-4].split() == ["1", "PassThroughCalculator", "(graph.pbtxt:3)"]
    root = ET.parse(svg).getroot()
    texts = {each.text for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert texts == {"in", "out", "PassThroughCalculator"}


@pytest.mark.parametrize("which", ["good", "good/graph.pbtxt"])
def test_explain_takes_a_folder_or_a_pbtxt(
    config: Path, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(config.parent / which)]) == 0
    assert "PassThroughCalculator" in capsys.readouterr().out


def test_who_has_read_enough_sees_no_traceback(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    reading, writing = os.pipe()
    os.close(reading)  # as `head` does, but before anything comes
    command = [sys.executable, "-m", "ovms_mp", "explain", str(tmp_path / "echo")]
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


def test_explain_says_in_a_line_what_is_wrong_and_where(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(config), "bad"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert "graph.pbtxt:3" in line
    assert "NoSuchCalculator" in line


def test_explain_asks_for_a_graph_that_the_config_has(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(config), "other"]) == 64
    assert "it has: good, bad" in capsys.readouterr().err


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A config with a model and a graph around nothing."""
    folder = tmp_path / "adder" / "1"
    folder.mkdir(parents=True)
    tiny.save(folder, tiny.add_one((-1, 10)))
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo" / "graph.pbtxt").write_text(GOOD)
    file = tmp_path / "config.json"
    models = [{"config": {"name": "adder", "base_path": "adder"}}]
    graphs = [{"name": "echo"}]
    file.write_text(
        json.dumps({"model_config_list": models, "mediapipe_config_list": graphs})
    )
    return file


@pytest.mark.parametrize("kind", ["unary", "streams"])
def test_bench_counts_answers_beside_those_of_the_model_itself(
    models: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--concurrency", "1,3", "--seconds", "0.3", "--shape", "x=2,10"]
    arguments += ["--in_process", str(models)]
    with serving(models) as server:
        more = ["--stream"] if kind == "streams" else []
        assert main(["bench", server.address, "adder", *arguments, *more]) == 0
        title, _, *rows = capsys.readouterr().out.splitlines()
        assert title == f"adder of {server.address}, {kind}, 0.3 s each"
        assert [row.split()[0] for row in rows] == ["1", "3"]
        for row in rows:
            _, rate, p50, p99, errors, alone, ratio = map(float, row.split())
            assert rate > 0 and alone > 0 and 0 < p50 <= p99
            assert errors == 0
            assert ratio == pytest.approx(rate / alone, abs=0.02)


def test_bench_sends_what_it_is_given_where_metadata_do_not_tell(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--concurrency", "1", "--seconds", "0.2"]
    given = {"in": np.arange(3, dtype=np.int64)}
    np.savez(models.parent / "data.npz", allow_pickle=False, **given)
    with serving(models) as server:
        assert main(["bench", server.address, "echo", *arguments]) == 64
        assert "in is INVALID in the metadata" in capsys.readouterr().err
        data = ["--data", str(models.parent / "data.npz")]
        assert main(["bench", server.address, "echo", *arguments, *data]) == 0


@pytest.mark.parametrize("content", [b"", b'{"in": [1]}', b"PK", b"\x93NUMPY"])
def test_bench_takes_no_other_file_for_arrays(
    models: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    data = models.parent / "data.npz"
    data.write_bytes(content)
    with serving(models) as server:
        assert main(["bench", server.address, "echo", "--data", str(data)]) == 64
    assert capsys.readouterr().err == f"--data: {data}: expected an .npz file\n"


def test_bench_takes_shapes_of_inputs_that_there_are(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(models) as server:
        assert main(["bench", server.address, "adder", "--shape", "X=2,10"]) == 64
    assert capsys.readouterr().err == "--shape: there is no input 'X'; known: x\n"


def test_bench_counts_refusals_and_says_what_they_are(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nobody goes on who is refused; but who comes too late does not even begin.
    arguments = ["--concurrency", "2", "--seconds", "20", "--shape", "x=1,11"]
    with serving(models) as server:
        assert main(["bench", server.address, "adder", *arguments]) == 1
        *_, row, refusal = capsys.readouterr().out.splitlines()
        assert row.split() == ["2", "0.0", "0.00", "0.00", "2"]
        assert refusal.split()[:2] == ["2", "times"]
        assert "INVALID_ARGUMENT" in refusal
        assert main(["bench", server.address, "nobody", *arguments]) == 1
        assert "NOT_FOUND" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--concurrency", "0"],
        ["--concurrency", "1,x"],
        ["--seconds", "0"],
        ["--shape", "x"],
        ["--shape", "x=1,-1"],
    ],
)
def test_bench_refuses_what_makes_no_sense(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "localhost:1", "adder", *arguments]) == 64
    assert capsys.readouterr().err.startswith(f"{arguments[0]}: expected")

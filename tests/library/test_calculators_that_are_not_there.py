"""Who names a calculator that cannot be had hears why, and nobody else does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovms_mp import Graph, GraphError

UNKNOWN_OPTIONS = {
    "node_options": "node_options { [type.googleapis.com/acme.Odd] { x: 1 } }",
    "options": "options { [acme.Odd.ext] { x: 1 } }",
}
MISSING = 'node "OddCalculator": there is no calculator named "OddCalculator"'

LOADING = """
import sys
from ovms_mp import Graph, GraphError
for name in ("PassThroughCalculator", "Twice"):
    ports = 'input_stream: "in" output_stream: "out"'
    text = f'input_stream: "in" node {{ calculator: "{name}" {ports} }}'
    try:
        Graph.parse(text).close()
        print("loaded")
    except GraphError as error:
        print(error)
"""


def complaint(calculator: str, options: str, folder: Path) -> str:
    text = f'input_stream: "in"\nnode {{ calculator: "{calculator}"\n{options} }}'
    with pytest.raises(GraphError) as caught:
        Graph.parse(text, base_path=folder)
    return str(caught.value)


@pytest.mark.parametrize("options", UNKNOWN_OPTIONS.values(), ids=UNKNOWN_OPTIONS)
def test_a_calculator_that_is_not_there_is_told_before_its_options(
    options: str, tmp_path: Path
) -> None:
    assert f"graph.pbtxt:3: {MISSING}; " in complaint(
        "OddCalculator", options, tmp_path
    )


def test_what_else_is_wrong_in_such_a_node_is_told_as_ever(tmp_path: Path) -> None:
    told = complaint("OddCalculator", "max_in_flight: 1.5", tmp_path)
    assert "there is no calculator" not in told and "1.5" in told


@pytest.mark.parametrize(
    "name", ["PassThroughCalculator", "SwitchContainer", "Neighbour"]
)
def test_of_what_is_there_only_the_options_are_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "neighbour.pbtxt").write_text('type: "Neighbour"')
    told = complaint(name, UNKNOWN_OPTIONS["node_options"], tmp_path)
    assert told.endswith(f'node "{name}": Type acme.Odd not found in descriptor pool')


def distribution(folder: Path, name: str) -> str:
    info = folder / name / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        f"[ovms_mp.calculators]\nTwice = {name}:Twice\n"
    )
    return str(info.parent)


def test_a_name_of_two_distributions_disturbs_only_graphs_that_name_it(
    tmp_path: Path,
) -> None:
    paths = [distribution(tmp_path, name) for name in ("acme", "other")]
    done = subprocess.run(
        [sys.executable, "-c", LOADING],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first == "loaded"
    assert "calculator 'Twice' comes from distribution 'acme 1.0'" in second
    assert "and from distribution 'other 1.0'" in second

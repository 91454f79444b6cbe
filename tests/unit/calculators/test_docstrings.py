"""A calculator's documentation shows a node that works."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from ovms_mp.calculator import NodeInfo
from ovms_mp.graph import config
from ovms_mp.graph.binding import bind
from ovms_mp.graph.registry import ENTRY_POINTS, Registry

OURS = sorted(
    (
        entry
        for entry in entry_points(group=ENTRY_POINTS)
        if entry.module.split(".")[0] == "ovms_mp_calculators"
    ),
    key=lambda entry: entry.name,
)
BLOCK = re.compile(r"^    node \{\n.*?^    \}$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.name)
def test_the_docstring_of_a_calculators_module_holds_one_node_that_fits(
    entry: EntryPoint,
):
    nodes = BLOCK.findall(import_module(entry.module).__doc__ or "")
    assert len(nodes) == 1, f"{entry.module} shows {len(nodes)} nodes"
    (node,) = config.parse(dedent(nodes[0]).encode(), entry.module).nodes
    assert node.calculator in {e.name for e in OURS if e.module == entry.module}
    found = Registry.installed().find(node.calculator)
    assert found is not None
    binding = bind(node, found.contract)
    found.calculator.check(
        NodeInfo(
            name=node.name or node.calculator,
            calculator=node.calculator,
            inputs=binding.inputs,
            outputs=binding.outputs,
            side_inputs=binding.side_inputs,
            side_outputs=binding.side_outputs,
            options=node.options,
        )
    )


def test_the_example_of_the_readme_works():
    readme = Path(__file__).parents[3] / "calculators" / "README.md"
    code = re.findall(
        r"^```python\n(.*?)^```$", readme.read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(code) == 2
    names: dict[str, Any] = {"__name__": "example"}
    for block in code:
        exec(compile(block, str(readme), "exec"), names)
    names["test_numbers_are_doubled"]()


def test_the_readme_lists_every_calculator_or_the_page_of_flow_calculators_does():
    root = Path(__file__).parents[3]
    readme = (root / "calculators" / "README.md").read_text()
    page = (root / "docs" / "flow-calculators.md").read_text()
    listed = re.findall(r"^\| `(\w+Calculator\w*)` \|", readme, re.MULTILINE)
    for names in re.findall(r"^\| (`\w+Calculator`.*?) \|", page, re.MULTILINE):
        listed += re.findall(r"`(\w+)`", names)
    assert sorted(listed) == [entry.name for entry in OURS]

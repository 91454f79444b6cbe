"""The oracle survives what kills the native runtime, and says so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.differential.oracle import NoAnswer, Oracle

CHAIN = """
executor { type: "ApplicationThreadExecutor" }
input_stream: "in"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }
"""


def case(stream: str) -> dict[str, Any]:
    return {
        "pbtxt": CHAIN,
        "types": {"in": "int", "out": "int", "none": "int"},
        "inputs": ["in"],
        "observed": ["out"],
        "bounds": False,
        "side": {},
        "steps": [[["packet", stream, 3, 7]]],
    }


def test_a_child_that_dies_is_replaced(oracle: Oracle) -> None:
    with pytest.raises(NoAnswer):
        oracle.ask(case("none"))  # a wrong stream name is a SIGSEGV in 0.10.21
    assert oracle.ask(case("in"))["steps"][1]["packets"] == {"out": [[3, 7]]}

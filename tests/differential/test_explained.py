"""Where this runtime differs from MediaPipe's, a graph each, with what both do and why.
`cases` leaves out exactly these.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.differential import own
from tests.differential.oracle import NoAnswer, Oracle

IMMEDIATE = (
    'input_stream_handler { input_stream_handler: "ImmediateInputStreamHandler" }'
)


def both(
    oracle: Oracle,
    pbtxt: str,
    steps: list[Any],
    types: dict[str, str],
    *,
    has_bounds: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The last step's outcome, MediaPipe's and ours."""
    inputs = [name for name in types if name.startswith("in")]
    executor = 'executor { type: "ApplicationThreadExecutor" }\n'
    case = {
        "pbtxt": executor + pbtxt,
        "types": types,
        "inputs": inputs,
        "observed": [name for name in types if name not in inputs],
        "bounds": has_bounds,
        "side": {},
        "steps": steps,
    }
    return oracle.ask(case)["steps"][-1], own.outcome(case)["steps"][-1]


def test_an_immediate_node_with_calls_in_flight_at_one_timestamp_does_not_die(
    oracle: Oracle,
) -> None:
    """Two calls at one timestamp can be in flight when two inputs get packets at it one
    after the other. MediaPipe ends the process over that; here the run fails.
    """
    case = {
        "pbtxt": f"""
        executor {{ type: "ApplicationThreadExecutor" }}
        input_stream: "in"
        node {{
          calculator: "PassThroughCalculator"
          input_stream: "in" input_stream: "in"
          output_stream: "a" output_stream: "b"
          max_in_flight: 3
          {IMMEDIATE}
        }}
        """,
        "types": {"in": "int", "a": "int", "b": "int"},
        "inputs": ["in"],
        "observed": ["a", "b"],
        "bounds": True,
        "side": {},
        "steps": [[["packet", "in", 5, 72]]],
    }
    with pytest.raises(NoAnswer):
        oracle.ask(case)
    assert "timestamp mismatch" in own.outcome(case)["steps"][-1]["error"]


def test_what_follows_the_end_of_a_stream_before_the_node_has_closed_is_dropped(
    oracle: Oracle,
) -> None:
    """In MediaPipe a node's queues close when its Close is run, and until then a packet
    behind the end is an error, which threads may win or lose. Here they close with the
    decision to close the node.
    """
    native, ours = both(
        oracle,
        """
        input_stream: "in"
        node {
          calculator: "PassThroughCalculator"
          input_stream: "in" output_stream: "out"
        }
        """,
        [[["empty", "in", "PRESTREAM"], ["packet", "in", 5, 1]]],
        types={"in": "int", "out": "int"},
    )
    assert "timestamp mismatch" in native["error"]
    assert ours["error"] is None


def test_a_queue_that_would_grow_for_ever_ends_the_run(oracle: Oracle) -> None:
    """MediaPipe makes room whenever a full queue waits for another input, without end; a
    client could fill a server's memory that way. Here a queue may grow to ten times its
    size.
    """
    native, ours = both(
        oracle,
        """
        input_stream: "in"
        input_stream: "in_too"
        max_queue_size: 1
        node {
          calculator: "PassThroughCalculator"
          input_stream: "in" input_stream: "in_too"
          output_stream: "a" output_stream: "b"
        }
        """,
        [[["packet", "in", at, at]] for at in range(12)],
        types={"in": "int", "in_too": "int", "a": "int", "b": "int"},
    )
    assert native["error"] is None
    assert "deadlock due to input throttling" in ours["error"]

"""Runs graphs in MediaPipe's own runtime: a case as a line of JSON in, what happened as a
line of JSON out. A script of its own, because what it calls may abort or hang.

The graphs run on the thread that calls (ApplicationThreadExecutor), so that a case has
one outcome only.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any

# MediaPipe's own log goes to file descriptor 1, too.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


mp: Any = import_module("mediapipe")  # it has no types

CREATE = {
    "int": mp.packet_creator.create_int,
    "bool": mp.packet_creator.create_bool,
    "ints": mp.packet_creator.create_int_vector,
}
READ = {
    "int": mp.packet_getter.get_int,
    "bool": mp.packet_getter.get_bool,
    "ints": mp.packet_getter.get_int_list,
    "bools": mp.packet_getter.get_bool_list,
}


def timestamp(value: int | str) -> Any:
    return getattr(mp.Timestamp, value) if isinstance(value, str) else value


class Run:
    """One graph, and what it has told since the last step."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.types = case["types"]
        self.packets: dict[str, list[Any]] = {}
        self.bounds: dict[str, int] = {}
        self.graph = mp.CalculatorGraph(graph_config=case["pbtxt"])
        for name in case["observed"]:
            self.graph.observe_output_stream(name, self.hear, case["bounds"])
        side = {
            name: CREATE[kind](value) for name, (kind, value) in case["side"].items()
        }
        self.graph.start_run(side)
        self.inputs = list(case["inputs"])

    def hear(self, name: str, packet: Any) -> None:
        at = packet.timestamp.value
        self.bounds[name] = at
        if not packet.is_empty():
            payload = READ[self.types[name]](packet)
            self.packets.setdefault(name, []).append([at, payload])

    def step(self, events: list[list[Any]]) -> dict[str, Any]:
        error = None
        try:
            for event in events:
                self.apply(*event)
            self.graph.wait_until_idle()
            if self.graph.has_error():
                error = self.graph.get_combined_error_message()
        except (RuntimeError, ValueError, KeyError) as problem:
            error = str(problem)
        told = {"packets": self.packets, "bounds": dict(self.bounds), "error": error}
        self.packets = {}
        return told

    def apply(
        self, kind: str, stream: str = "", at: Any = 0, value: Any = None
    ) -> None:
        graph = self.graph
        if kind == "packet":
            packet = CREATE[self.types[stream]](value).at(timestamp(at))
            graph.add_packet_to_input_stream(stream, packet)
        elif kind == "empty":
            packet = mp.Packet().at(timestamp(at))
            graph.add_packet_to_input_stream(stream, packet)
        elif kind == "close":
            graph.close_input_stream(stream)
        elif kind == "close_all":
            # By itself it takes the inputs in the order of a hash table.
            for name in self.inputs:
                graph.close_input_stream(name)
            graph.close_all_packet_sources()
        elif kind == "done":
            graph.wait_until_done()


def outcome(case: dict[str, Any]) -> dict[str, Any]:
    try:
        run = Run(case)
    except (RuntimeError, ValueError) as problem:
        return {"refused": str(problem), "steps": []}
    steps = []
    for events in [[], *case["steps"], [["close_all"], ["done"]]]:
        steps.append(run.step(events))
        if steps[-1]["error"] is not None:
            break
    return {"refused": None, "steps": steps}


for line in sys.stdin:
    answers.write(json.dumps(outcome(json.loads(line))) + "\n")

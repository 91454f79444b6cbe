"""What the native runtime takes through its Python API; a child of `runtime.py`, in an
environment that has mediapipe. Reads a pbtxt per line of JSON, answers in JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from importlib import import_module
from typing import Any

mp: Any = import_module("mediapipe")  # it has no types


def latency(text: str, count: int) -> float:
    """Median seconds from a packet to an idle graph."""
    graph = mp.CalculatorGraph(graph_config=text)
    graph.start_run()
    taken = []
    for number in range(count):
        packet = mp.packet_creator.create_int(number).at(number)
        begun = time.perf_counter()
        graph.add_packet_to_input_stream("s0", packet)
        graph.wait_until_idle()
        taken.append(time.perf_counter() - begun)
    graph.close()
    return statistics.median(taken)


def lifetime(text: str, count: int) -> float:
    """Median seconds to make, start and close a graph whose config has been read and
    judged before, which is the least that the native runtime can do.
    """
    judged = mp.ValidatedGraphConfig()
    judged.initialize(graph_config=text)
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        graph = mp.CalculatorGraph(validated_graph_config=judged)
        graph.start_run()
        graph.close()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


for line in sys.stdin:
    asked = json.loads(line)
    measured = {"latency": latency, "lifetime": lifetime}[asked["what"]]
    print(json.dumps(measured(asked["text"], asked["count"])), flush=True)

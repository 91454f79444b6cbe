"""What several processes see, as one."""

from __future__ import annotations

from typing import Any

from ovms_mp.frontend.http.together import together
from ovms_mp.telemetry.recent import KEPT


def served(name: str, state: str = "AVAILABLE", reason: str = "") -> dict[str, Any]:
    version = {"version": 1, "state": state, "failed": False, "reason": reason}
    return {"name": name, "kind": "graph", "reason": "", "versions": [version]}


def seen(*servables: Any, errors: Any = (), **more: Any) -> dict[str, Any]:
    told = {"servables": [*servables], "open": 0, "streams": [], "errors": [*errors]}
    return {**told, **more}


def pulse(rate: float, latency: float, answers: float = 1.0) -> dict[str, Any]:
    node = {"rate": rate, "busy": latency / 2, "latency": latency, "waiting": 1}
    return {
        "nodes": [node],
        "streams": {"in": rate},
        "waiting": {"in": 1},
        "requests": rate,
        "answers": answers,
        "latency": latency if answers else None,
    }


def test_one_alone_is_as_it_is() -> None:
    own = seen(served("g"), open=3, graph=pulse(2, 4))
    told = together(0, own, {})
    assert {**own, "workers": 1, "silent": []} == told


def test_what_is_the_same_everywhere_is_told_once() -> None:
    told = together(2, seen(served("g")), {1: seen(served("g"))})
    assert told["servables"] == [served("g")]
    assert told["workers"] == 2


def test_what_is_not_says_where_it_is_how() -> None:
    others = {1: seen(served("g", "LOADING")), 3: seen(served("g"), served("new"))}
    told = together(2, seen(served("g")), others)
    reasons = {each["name"]: each["reason"] for each in told["servables"]}
    assert reasons["g"] == (
        "worker 1: 1 loading; worker 2: 1 available; worker 3: 1 available"
    )
    assert reasons["new"] == (
        "worker 1: not known; worker 2: not known; worker 3: 1 available"
    )


def test_who_does_not_answer_is_named() -> None:
    told = together(2, seen(served("g"), open=1), {1: None, 3: seen(served("g"))})
    assert told["silent"] == [1]
    assert told["workers"] == 2
    assert told["servables"] == [served("g")]


def test_rates_are_added_and_latencies_are_means_of_what_there_was() -> None:
    own = seen(graph=pulse(10, 4, answers=10))
    told = together(1, own, {2: seen(graph=pulse(30, 8, answers=30))})["graph"]
    assert told["requests"] == told["streams"]["in"] == 40
    assert told["waiting"] == {"in": 2}
    assert told["latency"] == 7
    (node,) = told["nodes"]
    assert node == {"rate": 40, "busy": 3.5, "latency": 7, "waiting": 2}


def test_nodes_that_did_nothing_took_no_time() -> None:
    told = together(1, seen(graph=pulse(0, 0, 0)), {2: seen(graph=pulse(0, 0, 0))})
    assert told["graph"]["latency"] is None
    assert told["graph"]["nodes"][0]["latency"] == 0.0


def test_a_graph_that_one_has_used_is_told() -> None:
    told = together(1, seen(graph=None), {2: seen(graph=pulse(1, 2))})
    assert told["graph"]["requests"] == 1
    told = together(1, seen(graph=None), {2: seen(graph=None)})
    assert told["graph"] is None


def test_the_latest_errors_of_all_are_told() -> None:
    def failed(times: range) -> list[Any]:
        return [{"time": time, "text": f"at {time}"} for time in times]

    own = seen(errors=failed(range(200, 100, -2)))
    told = together(1, own, {2: seen(errors=failed(range(199, 99, -2)))})["errors"]
    assert [each["time"] for each in told] == [*range(200, 200 - KEPT, -1)]

"""Pages of several processes are one page."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ovms_mp.telemetry import page
from ovms_mp.telemetry.families import FLAGS
from ovms_mp.telemetry.metrics import Metrics

NAMES = st.text(min_size=1, max_size=5)


def busy(name: str, calls: int) -> Metrics:
    metrics = Metrics()
    model = metrics.model(name, "1")
    assert model is not None
    for number in range(calls):
        model.answered("gRPC", number)
        model.inferred(waited=0, engine=number)
    metrics.graph_opened("g")
    return metrics


@given(st.lists(st.tuples(NAMES, st.integers(0, 5)), min_size=1, max_size=4))
def test_the_page_of_all_is_that_of_one_who_did_it_all(
    workers: list[tuple[str, int]],
) -> None:
    pages = [busy(*each).page() for each in workers]
    merged = page.merged(
        page.from_json(json.loads(json.dumps(page.to_json(p)))) for p in pages
    )
    families = {
        f.name: f for f in text_string_to_metric_families(page.render(merged).decode())
    }
    calls = {name: 0 for name, _ in workers}
    for name, count in workers:
        calls[name] += count
    counted = {
        s.labels["name"]: s.value
        for s in families["ovms_requests_success"].samples
        if s.labels["method"] == "ModelInfer" and s.labels["interface"] == "gRPC"
    }
    assert counted == calls
    timed = {
        s.labels["name"]: s.value
        for s in families["ovms_inference_time_us"].samples
        if s.name.endswith("_count")
    }
    assert timed == calls
    (graphs,) = families["ovms_current_graphs"].samples
    assert graphs.value == len(workers)


def test_what_is_so_somewhere_is_so() -> None:
    outdated = Metrics()
    outdated.outdated("model", "m", "1", is_outdated=True)
    fine = Metrics()
    fine.outdated("model", "m", "1", is_outdated=False)
    pages = [outdated.page(), fine.page(), outdated.page()]
    (section,) = page.merged(pages, FLAGS)
    assert list(section.samples.values()) == [1]


def test_a_limit_of_each_is_none_of_their_sum() -> None:
    workers = [Metrics(["ovms_mp_limit"]) for _ in range(3)]
    for each in workers:
        each.process_has(lambda: 0, dict, {"max_streams": 7})
    (section,) = page.merged([each.page() for each in workers], FLAGS)
    assert list(section.samples.values()) == [7]


def test_gauges_end_with_their_process() -> None:
    left = page.history(busy("m", 2).page())
    assert left
    assert {section.kind for section in left} == {"counter", "histogram"}


@pytest.mark.parametrize("lists", [None, 1, [1], [[1, 2]], [["n", "k", "h", [1]]]])
def test_what_is_no_page_is_refused(lists: object) -> None:
    with pytest.raises(ValueError, match="not a page of metrics"):
        page.from_json(lists)

"""The metrics page under OVMS's names."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pending import Pending
from ovms_mp.graph.listener import NodeStatus
from ovms_mp.telemetry.families import BUCKETS, FAMILIES
from ovms_mp.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = tuple(family.name for family in FAMILIES)


def has(metrics: Metrics, busy: int = 1, requests: int = 1) -> None:
    metrics.model_has(
        "m", "1", streams=1, slots=1, busy=lambda: busy, requests=lambda: requests
    )


def timed(metrics: Metrics) -> None:
    nodes = metrics.graph_nodes("g", ["n"])
    if nodes is not None:
        nodes.timed("n", lambda _: None)(SimpleNamespace(pending=None))


def told(metrics: Metrics) -> None:
    """Nobody has failed so far, and some have whenever the page is made."""
    looks: list[int] = []

    def failures() -> dict[tuple[str, str], int]:
        looks.append(0)
        return {("gRPC", "NOT_FOUND"): 5 if len(looks) == 1 else 7}

    metrics.process_has(lambda: 4096, failures, {"max_streams": 1000})


# One call for each family, on labels of its own.
EVENTS: dict[str, Callable[[Metrics], object]] = {
    "ovms_requests_success": lambda m: m.model_request(
        "m", "1", "gRPC", "ModelInfer", ok=True
    ),
    "ovms_requests_fail": lambda m: m.model_request(
        "m", "1", "gRPC", "ModelInfer", ok=False
    ),
    "ovms_request_time_us": lambda m: m.model("m", "1"),
    "ovms_current_requests": has,
    "ovms_streams": has,
    "ovms_inference_time_us": lambda m: m.model("m", "1"),
    "ovms_wait_for_infer_req_time_us": lambda m: m.model("m", "1"),
    "ovms_infer_req_queue_size": has,
    "ovms_infer_req_active": has,
    "ovms_current_graphs": lambda m: m.graph_opened("g"),
    "ovms_requests_accepted": lambda m: m.graph_requests_accepted("g", "gRPC", "M"),
    "ovms_requests_rejected": lambda m: m.graph_requests_rejected("g", "gRPC", "M"),
    "ovms_responses": lambda m: m.graph_responses("g", "gRPC", "M"),
    "ovms_graph_error": lambda m: m.graph_error("g", "gRPC", "M"),
    "ovms_graph_processing_time_us": lambda m: m.graph_processing_time("g", "M", 0.5),
    "ovms_graph_request_latency_us": lambda m: m.graph_request_latency("g", "M", 0.5),
    "ovms_mp_batch_size": lambda m: m.batch_sizes("m", "1"),
    "ovms_mp_reloads": lambda m: m.reloaded(ok=True),
    "ovms_mp_outdated": lambda m: m.outdated("model", "m", "1", is_outdated=True),
    "ovms_mp_open_streams": lambda m: m.streams("g").open.inc(),
    "ovms_mp_first_response_us": lambda m: m.streams("g").first_response.observe(5),
    "ovms_mp_requests_cancelled": lambda m: m.graph_cancelled("g", "gRPC", "M"),
    "ovms_mp_requests_dropped": lambda m: m.streams("g").dropped.inc(),
    "ovms_mp_graph_node_time_us": timed,
    "ovms_mp_graph_node_queue": lambda m: m.graph_nodes("g", ["n"]),
    "ovms_mp_failures": told,
    "ovms_mp_limit": told,
    "ovms_mp_process_memory_bytes": told,
}
LABELS = {
    "ovms_requests_success": {"api", "interface", "method", "name", "version"},
    "ovms_requests_fail": {"api", "interface", "method", "name", "version"},
    "ovms_request_time_us": {"interface", "name", "version"},
    "ovms_current_requests": {"name", "version"},
    "ovms_streams": {"name", "version"},
    "ovms_inference_time_us": {"name", "version"},
    "ovms_wait_for_infer_req_time_us": {"name", "version"},
    "ovms_infer_req_queue_size": {"name", "version"},
    "ovms_infer_req_active": {"name", "version"},
    "ovms_current_graphs": {"name"},
    "ovms_requests_accepted": {"api", "interface", "method", "name"},
    "ovms_requests_rejected": {"api", "interface", "method", "name"},
    "ovms_responses": {"api", "interface", "method", "name"},
    "ovms_graph_error": {"api", "interface", "method", "name"},
    "ovms_graph_processing_time_us": {"method", "name"},
    "ovms_graph_request_latency_us": {"method", "name"},
    "ovms_mp_batch_size": {"name", "version"},
    "ovms_mp_reloads": {"result"},
    "ovms_mp_outdated": {"kind", "name", "version"},
    "ovms_mp_open_streams": {"name"},
    "ovms_mp_first_response_us": {"name"},
    "ovms_mp_requests_cancelled": {"interface", "method", "name"},
    "ovms_mp_requests_dropped": {"name"},
    "ovms_mp_graph_node_time_us": {"name", "node"},
    "ovms_mp_graph_node_queue": {"name", "node"},
    "ovms_mp_failures": {"interface", "code"},
    "ovms_mp_limit": {"limit"},
    "ovms_mp_process_memory_bytes": set(),
}


def lines(metrics: Metrics) -> list[str]:
    return metrics.render().decode().splitlines()


def shown(metrics: Metrics) -> list[str]:
    return [line.split()[2] for line in lines(metrics) if line.startswith("# TYPE")]


def happened(metrics: Metrics) -> Metrics:
    for event in EVENTS.values():
        event(metrics)
    return metrics


def test_a_counter_is_called_and_counted_as_in_ovms() -> None:
    metrics = Metrics(["ovms_requests_success"])
    for _ in range(5):
        metrics.model_request("m", "2", "gRPC", "ModelInfer", ok=True)
    assert lines(metrics) == [
        "# HELP ovms_requests_success "
        "Number of successful requests to a model or a DAG.",
        "# TYPE ovms_requests_success counter",
        'ovms_requests_success{api="KServe",interface="gRPC",method="ModelInfer",'
        'name="m",version="2"} 5',
    ]


def test_a_label_without_a_value_is_left_out() -> None:
    metrics = Metrics(["ovms_requests_fail"])
    metrics.model_request("m", "", "gRPC", "ModelReady", ok=False)
    assert lines(metrics)[-1] == (
        'ovms_requests_fail{api="KServe",interface="gRPC",method="ModelReady",'
        'name="m"} 1'
    )


def test_a_histogram_has_the_buckets_of_ovms_in_microseconds() -> None:
    metrics = Metrics(["ovms_inference_time_us"])
    meter = metrics.model("m", "1")
    assert meter is not None
    meter.inferred(waited=0, engine=20_000)
    page = lines(metrics)
    prefix = "ovms_inference_time_us"
    assert f'{prefix}_bucket{{name="m",version="1",le="18"}} 0' in page
    assert f'{prefix}_bucket{{name="m",version="1",le="32"}} 1' in page
    assert f'{prefix}_bucket{{name="m",version="1",le="+Inf"}} 1' in page
    assert f'{prefix}_count{{name="m",version="1"}} 1' in page
    assert f'{prefix}_sum{{name="m",version="1"}} 20' in page
    assert sum("_bucket" in line for line in page) == 34
    assert tuple(math.floor(10 * 1.8**i) for i in range(33)) == BUCKETS


def test_a_family_without_events_is_not_shown() -> None:
    assert Metrics().render() == b""


@pytest.mark.parametrize("name", NAMES)
def test_a_list_enables_exactly_what_it_names(name: str) -> None:
    assert shown(happened(Metrics([name]))) == [name]


def test_by_default_all_but_five_families_are_on() -> None:
    optional = {
        "ovms_infer_req_queue_size",
        "ovms_infer_req_active",
        "ovms_graph_request_latency_us",
        "ovms_mp_graph_node_time_us",
        "ovms_mp_graph_node_queue",
    }
    assert shown(happened(Metrics())) == [n for n in NAMES if n not in optional]


def test_metrics_that_are_off_show_nothing_whatever_happens() -> None:
    metrics = happened(Metrics.off())
    assert not metrics.is_enabled
    assert metrics.render() == b""
    assert Metrics().is_enabled


def test_an_unknown_family_is_refused_by_its_name() -> None:
    with pytest.raises(ServingError) as caught:
        Metrics(["ovms_streams", "ovms_unknown"])
    assert caught.value.status is Status.INVALID_METRICS_FAMILY_NAME
    assert caught.value.text == "Invalid name in metrics_list - ovms_unknown"


def test_prometheus_reads_every_family_with_its_type_and_labels() -> None:
    page = happened(Metrics(NAMES)).render().decode()
    families = {f.name: f for f in text_string_to_metric_families(page)}
    assert list(families) == list(NAMES)
    for family in FAMILIES:
        read = families[family.name]
        assert read.type == family.kind.name.lower()
        assert read.documentation == family.help
        for sample in read.samples:
            is_of_all = sample.labels.get("method") == "ModelReady"
            left_out = {"version"} if is_of_all else set()
            assert set(sample.labels) - {"le"} == LABELS[family.name] - left_out


@given(st.text(min_size=1))
def test_no_name_of_a_servable_breaks_the_page(name: str) -> None:
    metrics = Metrics(["ovms_current_graphs"])
    metrics.graph_opened(name)
    page = metrics.render().decode()
    (family,) = text_string_to_metric_families(page)
    assert [s.labels for s in family.samples] == [{"name": name}]


def test_gauges_go_up_and_down() -> None:
    metrics = Metrics(
        ["ovms_current_graphs", "ovms_current_requests", "ovms_infer_req_active"]
    )
    for _ in range(3):
        metrics.graph_opened("g")
    metrics.graph_closed("g")
    has(metrics, busy=7, requests=7)
    has(metrics, busy=1, requests=2)
    values = [line for line in lines(metrics) if not line.startswith("#")]
    assert values == [
        'ovms_current_requests{name="m",version="1"} 2',
        'ovms_infer_req_active{name="m",version="1"} 1',
        'ovms_current_graphs{name="g"} 2',
    ]


def test_what_is_loaded_is_shown_before_anything_happens() -> None:
    metrics = Metrics(["ovms_requests_success", "ovms_current_graphs"])
    metrics.model("m", "1")
    metrics.graph_loaded("g")
    values = [line for line in lines(metrics) if not line.startswith("#")]
    assert len(values) == 2 * 3 + 1
    assert all(line.endswith(" 0") for line in values)
    metrics.model_request("m", "1", "gRPC", "ModelInfer", ok=True)
    metrics.model("m", "1")
    assert sum(line.endswith(" 1") for line in lines(metrics)) == 1


def test_a_call_that_waits_takes_until_what_it_waits_for_is_there() -> None:
    metrics = Metrics(["ovms_mp_graph_node_time_us"])
    nodes = metrics.graph_nodes("g", ["n"])
    assert nodes is not None
    pending: Pending[int] = Pending()
    nodes.timed("n", lambda _: None)(SimpleNamespace(pending=pending))
    counted = 'ovms_mp_graph_node_time_us_count{name="g",node="n"} '
    assert f"{counted}0" in lines(metrics)
    pending.complete(1)
    assert f"{counted}1" in lines(metrics)


def test_what_waits_is_the_sum_over_runs_and_of_none_nothing() -> None:
    metrics = Metrics(["ovms_mp_graph_node_queue"])
    nodes = metrics.graph_nodes("g", ["n"])
    assert nodes is not None
    same = metrics.graph_nodes("g", ["n", "new"])
    assert same is nodes
    first, second = _Run("n", 2), _Run("new", 3)
    for run in (first, second):
        nodes.opened(run)
    queue = "ovms_mp_graph_node_queue{name="
    assert f'{queue}"g",node="n"}} 2' in lines(metrics)
    assert f'{queue}"g",node="new"}} 3' in lines(metrics)
    nodes.closed(first)
    assert f'{queue}"g",node="n"}} 0' in lines(metrics)


def test_nodes_are_not_watched_unless_somebody_asks() -> None:
    assert Metrics().graph_nodes("g", ["n"]) is None

    def process(_: object) -> None:
        pass

    nodes = Metrics(["ovms_mp_graph_node_queue"]).graph_nodes("g", ["n"])
    assert nodes is not None
    assert nodes.timed("n", process) is process


class _Run:
    def __init__(self, node: str, waiting: int) -> None:
        self._status = NodeStatus(node, "OPENED", 0, {"stream": waiting}, ())

    def status(self) -> list[NodeStatus]:
        return [self._status]


def test_failures_count_from_the_start_of_the_metrics_on() -> None:
    metrics = Metrics()
    told(metrics)
    for _ in range(2):
        assert 'ovms_mp_failures{interface="gRPC",code="NOT_FOUND"} 2' in lines(metrics)


def test_no_event_is_lost_between_threads() -> None:
    metrics = Metrics()

    def work(worker: int) -> None:
        for _ in range(500):
            metrics.graph_responses(f"g{worker % 2}", "gRPC", "ModelInferStream")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    values = [line.split()[-1] for line in lines(metrics) if line[0] != "#"]
    assert values == ["2000", "2000"]


def test_two_metrics_know_nothing_of_each_other() -> None:
    one, other = Metrics(), Metrics()
    one.graph_opened("g")
    assert other.render() == b""

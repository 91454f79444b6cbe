"""Dashboards show something: what their expressions name is on the page of a server that
has work, with the labels that they ask for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import promql_parser as promql
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ovms_mp.telemetry.families import FAMILIES, OF_WORKERS, Kind
from tests.unit.inference import tiny
from tests.wire import rest, zoo
from tests.wire.calls import Stream, ask, floats, infer, refusal, status_of, text
from tests.wire.servers import Server, serving
from tests.wire.waiting import until

FOLDER: Final = Path(__file__).resolve().parents[2] / "deploy" / "grafana"
DASHBOARDS: Final = {
    each.stem: json.loads(each.read_text()) for each in FOLDER.glob("*.json")
}
FIVE: Final = floats(1, 2, 3, 4, 5)

# What Grafana puts there when "All" is chosen; and some seconds.
VARIABLES: Final = {"name": ".*", "version": ".*", "interface": ".*"}
INTERVAL: Final = "1m"

# Grafana's own function, which asks for the values of a label.
_LABEL_VALUES: Final = re.compile(r"label_values\((.+), (\w+)\)")


class Asked(NamedTuple):
    """A selector of an expression, and the labels that the expression names."""

    selector: promql.VectorSelector
    labels: frozenset[str]


def expressions() -> Iterator[tuple[str, str]]:
    """All, each with where it is."""
    for name, dashboard in DASHBOARDS.items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{name}/${variable['name']}", variable["query"]["query"]
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield f"{name}/{panel['title']}/{target['refId']}", target["expr"]


def asked(expression: str) -> list[Asked]:
    """What an expression selects. Raises ValueError for what is no PromQL."""
    labels: set[str] = set()
    values = _LABEL_VALUES.fullmatch(expression)
    if values is not None:
        expression, label = values.groups()
        labels.add(label)
    expression = expression.replace("$__rate_interval", INTERVAL)
    for name, value in VARIABLES.items():
        expression = expression.replace(f"${name}", value)
    assert "$" not in expression, "a variable that the dashboard does not have"
    selectors: list[promql.VectorSelector] = []

    def visit(node: Any) -> None:
        match node:
            case promql.VectorSelector():
                selectors.append(node)
            case promql.MatrixSelector():
                selectors.append(node.vector_selector)
            case promql.AggregateExpr() if node.modifier is not None:
                labels.update(node.modifier.labels)

    promql.walk(promql.parse(expression), visit)
    assert selectors
    return [Asked(each, frozenset(labels)) for each in set_of(selectors)]


def set_of(selectors: list[promql.VectorSelector]) -> list[promql.VectorSelector]:
    return list({each.prettify(): each for each in selectors}.values())


def labels_of(sample: str) -> frozenset[str] | None:
    """The labels of the family that a sample of this name is of; None if there is none."""
    for family in (*FAMILIES, *OF_WORKERS):
        if family.kind is not Kind.HISTOGRAM:
            if sample == family.name:
                return frozenset(family.labels)
        elif sample == f"{family.name}_bucket":
            return frozenset({*family.labels, "le"})
        elif sample in {f"{family.name}_sum", f"{family.name}_count"}:
            return frozenset(family.labels)
    return None


def fits(selector: promql.VectorSelector, labels: Mapping[str, str]) -> bool:
    """Whether a series has what is asked for; a label that is not there is empty."""
    for matcher in selector.matchers.matchers:
        value = labels.get(matcher.name, "")
        is_pattern = matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
        pattern = matcher.value if is_pattern else re.escape(matcher.value)
        is_negative = matcher.op in (promql.MatchOp.NotEqual, promql.MatchOp.NotRe)
        if (re.fullmatch(pattern, value) is None) is not is_negative:
            return False
    return True


def problems(expression: str, page: str) -> list[str]:
    """Why an expression would not show what it promises."""
    found: list[str] = []
    for selector, labels in asked(expression):
        shown = selector.prettify()
        known = labels_of(selector.name or "")
        if known is None:
            found.append(f"{shown}: there is no such family")
            continue
        named = labels | {each.name for each in selector.matchers.matchers}
        # Of the two sides of a division each has the labels that are asked for.
        unknown = named - known - {"le"}
        if unknown:
            found.append(f"{shown}: it has no labels {sorted(unknown)}")
        series = [
            sample
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            # The parser gives counters a suffix that the page does not have.
            if sample.name in {selector.name, f"{selector.name}_total"}
            and fits(selector, sample.labels)
        ]
        if not series:
            found.append(f"{shown}: the page has nothing of it")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a server that has had work of every kind."""
    folder = tmp_path_factory.mktemp("shown")
    zoo.add_model(folder, "add_one", tiny.add_one((1, 5)))
    zoo.add_model(folder, "rows", tiny.add_one((-1, 5)))
    for name, pbtxt in {"echo": zoo.ECHO, "words": zoo.words()}.items():
        zoo.add_graph(folder, name, pbtxt, speaker=zoo.HANDLER)
    models = [
        zoo.entry("add_one"),
        zoo.entry("rows", dynamic_batching={"max_batch_size": 4}),
    ]
    config = zoo.write_config(folder, models, [{"name": "echo"}, {"name": "words"}])
    with serving(config) as server:
        work(server)
        (folder / "echo" / "graph.pbtxt").write_text(f"# new\n{zoo.ECHO}")
        (folder / "words" / "graph.pbtxt").write_text("no graph")
        server.app.reload()
        return server.app.metrics.render().decode()


def work(server: Server) -> None:
    asking = rest.Rest(server.app.rest_port)
    with server.connect() as channel:
        for name in ("add_one", "rows"):
            infer(channel, ask(name, {"x": FIVE}))
            refusal(channel, ask(name, {"no": FIVE}))
            asking.infer(name, rest.inputs(rest.tensor("x", FIVE)))
            asking.get(f"/v2/models/{name}")
        infer(channel, ask("echo", {"in": FIVE}))
        refusal(channel, ask("echo", {"no": FIVE}))
        asking.infer("echo", rest.inputs(rest.tensor("in", FIVE)))
        with Stream(channel, ask("echo", {"in": FIVE})) as stream:
            stream.answer()
            stream.half_close()
            assert stream.end() == ("OK", "")
        word: dict[str, np.ndarray] = {"word": text("raise")}
        assert status_of(lambda: infer(channel, ask("words", word)))[0] != "OK"
    assert until(server.is_idle)


@pytest.mark.parametrize(
    "expression", [pytest.param(each, id=where) for where, each in expressions()]
)
def test_an_expression_finds_what_it_asks_for(page: str, expression: str) -> None:
    assert problems(expression, page) == []


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("ovms_request", "there is no such family"),
        ("rate(ovms_request_time_us[1m])", "there is no such family"),
        ('ovms_streams{node="x"}', "it has no labels ['node']"),
        ("sum by (interface) (ovms_current_graphs)", "it has no labels ['interface']"),
        ('ovms_streams{name="nobody"}', "the page has nothing of it"),
        ("label_values(ovms_streams, method)", "it has no labels ['method']"),
    ],
)
def test_an_expression_that_would_show_nothing_is_found_out(
    page: str, expression: str, problem: str
) -> None:
    assert any(each.endswith(problem) for each in problems(expression, page))


def test_what_is_no_expression_is_found_out() -> None:
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        asked("sum by (name (ovms_streams)")


def test_every_family_is_on_a_dashboard() -> None:
    """What is worth counting is worth a look."""
    shown = " ".join(expression for _, expression in expressions())
    missing = [each.name for each in FAMILIES if each.name not in shown]
    assert missing == []


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_a_dashboard_can_be_imported(name: str) -> None:
    dashboard = DASHBOARDS[name]
    panels = [each for each in dashboard["panels"] if each["type"] != "row"]
    numbers = [each["id"] for each in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    sources = {target["datasource"]["uid"] for p in panels for target in p["targets"]}
    assert sources == {"${datasource}"}
    known = {each["name"] for each in dashboard["templating"]["list"]}
    for _, expression in expressions():
        for variable in re.findall(r"\$(\w+)", expression):
            assert variable in known | set(VARIABLES) | {"__rate_interval"}

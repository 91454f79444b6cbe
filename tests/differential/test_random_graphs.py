"""Random graphs do here what they do in MediaPipe: the same packets in the same order,
the same settled bounds, an error or none, after every step and at the end.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase

from tests.differential.cases import cases, kinds
from tests.differential.comparison import compare
from tests.differential.oracle import Oracle

GRAPHS = int(os.environ.get("DIFFERENTIAL_GRAPHS", "300"))
"""`make nightly` asks for more, and for others each time."""

AT_LEAST = 0.02
"""The share of the graphs in which each kind of node, and each feature, occurs."""

FEATURES = (
    "Immediate",
    "FixedSize",
    "Batch",
    "back edge",
    "max_in_flight",
    "max_queue_size",
    "report_deadlock",
)


@pytest.mark.timeout(1800)
def test_random_graphs_do_what_they_do_in_mediapipe(
    oracle: Oracle, capsys: pytest.CaptureFixture[str]
) -> None:
    statistics: Counter[str] = Counter()

    @hypothesis.settings(
        max_examples=GRAPHS,
        derandomize=GRAPHS <= 300,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
    )
    @hypothesis.given(cases())
    def law(case: dict[str, Any]) -> None:
        compare(oracle, case, statistics)

    law()
    with capsys.disabled():
        print()
        for name, count in sorted(statistics.items()):
            print(f"  {name}: {count}")
    _check_that_it_was_not_vacuous(statistics)


def _check_that_it_was_not_vacuous(statistics: Counter[str]) -> None:
    assert statistics["graphs"] >= GRAPHS
    assert statistics["events"] > 3 * GRAPHS
    assert statistics["packets compared"] > 2 * GRAPHS
    assert statistics["bounds compared"] > 2 * GRAPHS
    assert GRAPHS / 100 < statistics["runs that failed in both"] < GRAPHS / 3
    assert statistics["refused by both"] < GRAPHS / 20
    assert statistics["MediaPipe died or hung"] < GRAPHS / 30
    for name in (*kinds(), *FEATURES):
        assert statistics[name] > AT_LEAST * GRAPHS, f"{name} is hardly tried"

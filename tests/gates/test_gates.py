"""Gates, each at its smallest size: what the server has to bear it bears. Times may be
those of a machine that has other work.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import Table, tables_of
from tests.gates import report
from tests.gates.gate import PATIENCE, Figure, Gate, Run, Tier, none, seconds, worst
from tests.gates.run import PAGE
from tests.gates.table import GATES

SMALL = [each for each in GATES if each.short]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("gate", SMALL, ids=[each.name for each in SMALL])
def test_a_gate_holds(gate: Gate, tmp_path: Path) -> None:
    figures = gate.measure(Run(gate.short, tmp_path, Tier.SHORT))
    assert figures
    missed = [
        f"{each.what}: {each.text}" for each in figures if not each.holds(PATIENCE)
    ]
    assert not missed


def test_all_twenty_are_there_and_grow_with_their_tiers() -> None:
    assert [each.name for each in GATES] == [f"R{n}" for n in range(1, 21)]
    for each in GATES:
        assert each.law and 0 <= each.short <= each.change <= each.night
        assert each.change > 0


@pytest.fixture
def tables() -> dict[str, Table]:
    return {each.name: each for each in tables_of(PAGE.read_text())}


def test_the_page_says_what_is_done(tables: dict[str, Table]) -> None:
    shown = [
        (name, unit, *(int(size.replace(",", "")) for size in sizes))
        for name, _, unit, *sizes in tables["gates"].rows
    ]
    assert shown == [
        (each.name, each.unit, each.short, each.change, each.night) for each in GATES
    ]


def test_figures_of_the_page_are_those_of_gates(tables: dict[str, Table]) -> None:
    names = {each.name for each in GATES}
    told = [row[0].partition(",")[0] for row in tables["figures of gates"].rows]
    assert {each for each in told if each} <= names


@pytest.mark.parametrize(
    ("figure", "holds", "with_patience"),
    [
        (none("x", 0), True, True),
        (none("x", 1), False, False),
        (none("x", float("nan")), False, False),
        (seconds("x", 1.5, 1.0), False, True),
        (seconds("x", 2.5, 1.0), False, False),
        (Figure("x", 1, at_least=2), False, False),
        (Figure("x", 1, at_least=1), True, True),
        (Figure("x", 9), True, True),
    ],
)
def test_a_figure_holds_within_its_bounds_and_a_time_within_wider_ones(
    figure: Figure, holds: bool, with_patience: bool
) -> None:
    assert (figure.holds(), figure.holds(2.0)) == (holds, with_patience)


def test_of_several_rounds_the_worst_counts() -> None:
    rounds = [[none("x", n), Figure("y", n, at_least=1)] for n in (0, 2, 1)]
    assert [each.value for each in worst(rounds)] == [2, 0]


def test_a_page_gets_its_figures_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    found = report.Found(GATES[0], 60, 61.0, [none("lost", 3)])
    report.publish(report.markdown([found], report.machine(Tier.CHANGE)), page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert "old" not in text and "| lost | 3 | at most 0 | MISSED |" in text

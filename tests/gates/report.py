"""What a run of gates found, as a table for a terminal, as JSON, and as Markdown that goes
between two marks of docs/reliability.md.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import grpc
import openvino as ov

from tests.gates.gate import Figure, Gate, Tier

BEGIN: Final = "<!-- figures: written by `make gates PUBLISH=1` -->"
END: Final = "<!-- end of figures -->"


@dataclass(frozen=True, slots=True)
class Found:
    """What one gate gave; `error` if it did not come to an end."""

    gate: Gate
    size: int
    seconds: float
    figures: Sequence[Figure]
    error: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is passed."""
        return not self.error and all(each.holds() for each in self.figures)

    @property
    def verdict(self) -> str:
        """In a word."""
        return "holds" if self.holds else "MISSED"


def machine(tier: Tier) -> Mapping[str, str]:
    """Where and when it was run, and how busy that place was."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "sizes": tier.value,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores of {model}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "openvino": ov.get_version().partition("-")[0],
        "grpcio": grpc.__version__,
    }


def terminal(found: Found) -> str:
    """Some lines for a person who waits."""
    head = (
        f"{found.gate.name}  {found.verdict}  {found.size} {found.gate.unit}, "
        f"{found.seconds:.0f} s: {found.gate.law}"
    )
    rows = [
        f"    {'' if each.holds() else 'MISSED: '}{each.what}: {each.text}"
        + (f" ({each.bound})" if each.bound else "")
        for each in found.figures
    ]
    return "\n".join([head, *rows, *([f"    {found.error}"] if found.error else [])])


def markdown(every: Sequence[Found], about: Mapping[str, str]) -> str:
    """A line of where and when, and a table with a row for each figure."""
    said = ", ".join(f"{key} {value}" for key, value in about.items())
    taken = sum(each.seconds for each in every) / 60
    lines = [
        f"{said[0].upper()}{said[1:]}; {taken:.1f} minutes in all.",
        "",
        "<!-- table: figures of gates -->",
        "| gate | figure | value | bound | |",
        "| --- | --- | --: | --- | --- |",
    ]
    for found in every:
        name = f"{found.gate.name}, {found.size} {found.gate.unit}"
        if found.error:
            lines.append(f"| {name} | it did not come to an end | | | MISSED |")
        for figure in found.figures:
            verdict = "" if figure.holds() else "MISSED"
            what = figure.what.replace("|", r"\|")
            row = (name, what, figure.text, figure.bound, verdict)
            lines.append(f"| {' | '.join(row)} |")
            name = ""
    return "\n".join(lines)


def write(every: Sequence[Found], about: Mapping[str, str], folder: Path) -> None:
    """`gates.md` and `gates.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gates.md").write_text(markdown(every, about) + "\n")
    result = {"machine": dict(about), "gates": [_told(each) for each in every]}
    (folder / "gates.json").write_text(json.dumps(result, indent=2) + "\n")


def _told(found: Found) -> dict[str, Any]:
    figures = [
        {
            "figure": each.what,
            "value": each.value,
            "unit": each.unit,
            "at most": each.at_most,
            "at least": each.at_least,
            "holds": each.holds(),
        }
        for each in found.figures
    ]
    return {
        "gate": found.gate.name,
        "law": found.gate.law,
        "size": found.size,
        "unit": found.gate.unit,
        "seconds": round(found.seconds, 1),
        "holds": found.holds,
        "error": found.error,
        "figures": figures,
    }


def publish(text: str, page: Path) -> None:
    """Put it between the marks of a page. Raises ValueError for one that has none."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no place for figures")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")

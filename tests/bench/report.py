"""What was measured as a table, as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol
from xml.sax.saxutils import escape

from tests.bench.loads import percentile

_ROW: Final = 26
_LABEL: Final = 430
_BAR: Final = 330
_INK: Final = "#6b7280"  # readable on light and on dark


class Measured(Protocol):
    """A case that has been measured."""

    name: str
    limit: str

    @property
    def rate(self) -> float: ...

    @property
    def latencies(self) -> list[float]: ...


def write(
    cases: Sequence[Measured],
    ratios: Sequence[Mapping[str, Any]],
    machine: Mapping[str, Any],
    folder: Path,
) -> str:
    """Write `benchmarks.md`, `.json` and `.svg` there; returns the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    rates = {case.name: case.rate for case in cases}
    rows = [
        {
            "case": case.name,
            "per second": round(case.rate, 1),
            "of the limit": round(case.rate / rates[case.limit], 3)
            if case.limit
            else None,
            "p50 ms": round(percentile(case.latencies, 50), 2),
            "p99 ms": round(percentile(case.latencies, 99), 2),
        }
        for case in cases
    ]
    table = f"{_table(rows)}\n\n{_ratios(ratios)}"
    (folder / "benchmarks.md").write_text(table + "\n")
    result = {"machine": dict(machine), "rows": rows, "runtime": [*ratios]}
    (folder / "benchmarks.json").write_text(json.dumps(result, indent=2) + "\n")
    (folder / "benchmarks.svg").write_text(_picture(rows))
    return table


def _ratios(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| the runtime by itself | ours | calibration | ratio | at most |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row['case']} | {row['ours']} | {row['calibration']} | "
        f"**{row['ratio']:.2f}** | {row['gate']} |"
        for row in rows
    ]
    return "\n".join(lines)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| case | per second | of the limit | p50 ms | p99 ms |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        ratio = row["of the limit"]
        share = "1" if ratio is None else f"**{ratio:.2f}**"
        lines.append(
            f"| {row['case']} | {row['per second']:,.0f} | {share} "
            f"| {row['p50 ms']:.2f} | {row['p99 ms']:.2f} |"
        )
    return "\n".join(lines)


def _picture(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [row for row in rows if row["of the limit"] is not None]
    height = _ROW * (len(shown) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LABEL + _BAR + 70} '
        f'{height}" font-family="sans-serif" font-size="13">',
        f'<text x="{_LABEL}" y="16" fill="{_INK}">share of the limit in the same run</text>',
    ]
    for number, row in enumerate(shown, 1):
        y = number * _ROW
        ratio = row["of the limit"]
        width = max(1, round(_BAR * min(1, ratio)))
        parts.append(
            f'<text x="{_LABEL - 8}" y="{y + 16}" text-anchor="end" fill="{_INK}">'
            f"{escape(row['case'])}</text>"
            f'<rect x="{_LABEL}" y="{y + 4}" width="{width}" height="16" fill="#2563eb"/>'
            f'<text x="{_LABEL + width + 6}" y="{y + 16}" fill="{_INK}">{ratio:.2f}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])

"""What was measured as JSON, as Markdown and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

_LINE: Final = 22
_LABEL: Final = 250
_BAR: Final = 360
_INK: Final = "#6b7280"  # readable on light and on dark
_OURS: Final = "#2563eb"
_OTHERS: Final = "#9ca3af"

Told = Mapping[str, Any]


def write(
    rows: Sequence[Told],
    aims: Sequence[Told],
    more: Mapping[str, Sequence[Told]],
    machine: Told,
    folder: Path,
) -> str:
    """Write `benchmarks.md`, `.json` and `.svg` there; returns the tables. `more` has
    tables of other modules by their titles, with the columns of their rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = [_rows(rows), _aims(aims)]
    tables += [_table(title, told) for title, told in more.items() if told]
    said = ", ".join(f"{key} {value}" for key, value in machine.items())
    text = "\n\n".join((*tables, said)) + "\n"
    (folder / "benchmarks.md").write_text(text)
    result = {"machine": dict(machine), "rows": [*rows], "aims": [*aims], **more}
    (folder / "benchmarks.json").write_text(json.dumps(result, indent=2) + "\n")
    (folder / "benchmarks.svg").write_text(picture(rows))
    return text


def _rows(rows: Sequence[Told]) -> str:
    lines = [
        "| case | server | per second | slowest - fastest round | p50 ms | p99 ms "
        "| CPU us an answer |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    case = ""
    for row in rows:
        name = "" if row["case"] == case else row["case"]
        case = row["case"]
        low, high = min(row["rounds"]), max(row["rounds"])
        lines.append(
            f"| {name} | {row['server']} | {_number(row['per second'])} "
            f"| {_number(low)} - {_number(high)} "
            f"| {_number(row['p50 ms'])} | {_number(row['p99 ms'])} "
            f"| {_number(row['cpu us'] or None)} |"
        )
    return "\n".join(lines)


def _aims(aims: Sequence[Told]) -> str:
    lines = ["| ratio, in the same run | is | at least | |", "|---|--:|--:|---|"]
    for aim in aims:
        least, most = aim.get("at least"), aim.get("at most")
        if most is not None:
            is_missed, told = aim["ratio"] > most, f"at most {most:g}"
        else:
            is_missed = least is not None and aim["ratio"] < least
            told = "-" if least is None else f"{least:g}"
        verdict = "missed" if is_missed else ""
        lines.append(f"| {aim['what']} | **{aim['ratio']:.2f}** | {told} | {verdict} |")
    return "\n".join(lines)


def _table(title: str, rows: Sequence[Told]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "case"))
    head = f"| {title} | {' | '.join(columns)} |"
    lines = [head, f"|---|{'--:|' * len(columns)}"]
    for row in rows:
        cells = " | ".join(str(row.get(column, "")) for column in columns)
        lines.append(f"| {row['case']} | {cells} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def picture(rows: Sequence[Told]) -> str:
    """A bar for each row, as long as its rate is among those of the same case."""
    best: dict[str, float] = {}
    for row in rows:
        case = row["case"]
        best[case] = max(best.get(case, 0.0), row["per second"])
    parts: list[str] = []
    y, case = 0, ""
    for row in rows:
        if row["case"] != case:
            case = row["case"]
            y += _LINE * 3 // 2
            parts.append(
                f'<text x="0" y="{y}" fill="{_INK}" font-weight="bold">'
                f"{escape(case)}</text>"
            )
        y += _LINE
        width = max(1, round(_BAR * row["per second"] / (best[case] or 1)))
        colour = _OURS if row["server"].startswith("ovms_mp") else _OTHERS
        parts.append(
            f'<text x="{_LABEL - 8}" y="{y}" text-anchor="end" fill="{_INK}">'
            f"{escape(row['server'])}</text>"
            f'<rect x="{_LABEL}" y="{y - 13}" width="{width}" height="16" '
            f'fill="{colour}"/>'
            f'<text x="{_LABEL + width + 6}" y="{y}" fill="{_INK}">'
            f"{_number(row['per second'])}/s</text>"
        )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LABEL + _BAR + 90} '
        f'{y + _LINE}" font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, *parts, "</svg>", ""])

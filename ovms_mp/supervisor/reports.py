"""What came of a reload, of several workers as of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Reports: TypeAlias = Mapping[int, Any]
"""What workers answered by their numbers, None for one that did not: an `error` with the
configuration, or `changes`, each with `name`, `kind`, `version`, `outcome`, `reason`."""


def problems(reports: Reports) -> list[str]:
    """A line for each thing that went wrong, which says in which workers it did; none if
    everything is served as it is written.
    """
    found: dict[str, list[int]] = {}
    for number, report in reports.items():
        for problem in _problems(report):
            found.setdefault(problem, []).append(number)
    return [
        f"{problem} (worker {', '.join(map(str, numbers))})"
        for problem, numbers in found.items()
    ]


def to_json(reports: Reports) -> dict[str, Any]:
    """For those who ask through a worker: whether all went well, and what each said."""
    return {
        "is_ok": not problems(reports),
        "workers": {str(number): report for number, report in reports.items()},
    }


def _problems(report: Any) -> list[str]:
    if report is None:
        return ["no answer"]
    try:
        failed = [
            f"{each['kind']} {each['name']}: {each['reason']}"
            for each in report["changes"]
            if each["outcome"] == "failed" and each["kind"] != "config"  # the error
        ]
        return [str(report["error"]), *failed] if report["error"] else failed
    except (KeyError, TypeError):
        return ["an answer that cannot be read"]

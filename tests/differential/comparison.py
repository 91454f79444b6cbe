"""Two outcomes of one case, and the first thing in which they differ."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.differential import own
from tests.differential.oracle import NoAnswer, Oracle


class Difference(AssertionError):
    """The runtimes disagree; the text has all that is needed to see it again."""

    def __init__(self, what: str, case: dict[str, Any], native: Any, ours: Any) -> None:
        super().__init__(
            f"{what}\n{case['pbtxt']}\nsteps: {case['steps']}\n"
            f"MediaPipe: {native}\nours:      {ours}"
        )


def compare(oracle: Oracle, case: dict[str, Any], statistics: Counter[str]) -> None:
    """Raises Difference. Counts what the case was made of and how it went."""
    statistics["graphs"] += 1
    for each in case["used"]:
        statistics[each] += 1
    ours = own.outcome(case)
    try:
        native = oracle.ask(case)
    except NoAnswer:
        # A CHECK of a calculator's or the framework's: nothing to compare with.
        statistics["MediaPipe died or hung"] += 1
        return
    if (native["refused"] is None) != (ours["refused"] is None):
        raise Difference("load", case, native["refused"], ours["refused"])
    statistics["refused by both"] += native["refused"] is not None
    pairs = zip(native["steps"], ours["steps"], strict=False)
    for number, (theirs, mine) in enumerate(pairs):
        where = f"after step {number}"
        if (theirs["error"] is None) != (mine["error"] is None):
            raise Difference(f"errors {where}", case, theirs, mine)
        if theirs["error"] is not None:
            # What was on its way when the run failed arrives or does not.
            statistics["runs that failed in both"] += 1
            break
        if theirs["packets"] != mine["packets"]:
            raise Difference(f"packets {where}", case, theirs, mine)
        if case["bounds"] and theirs["bounds"] != mine["bounds"]:
            raise Difference(f"bounds {where}", case, theirs, mine)
        statistics["packets compared"] += sum(map(len, mine["packets"].values()))
        statistics["bounds compared"] += len(mine["bounds"]) if case["bounds"] else 0
    statistics["events"] += sum(map(len, case["steps"]))

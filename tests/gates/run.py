"""Run gates, print what they found, and write it down.

    python -m tests.gates.run [--tier change|night|short] [--only R1 R2] [--minutes N]

The exit code is 1 if one is missed.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.gates import report
from tests.gates.gate import Gate, Run, Tier
from tests.gates.report import Found
from tests.gates.table import GATES

PAGE: Final = Path(__file__).parents[2] / "docs" / "reliability.md"


def measured(gate: Gate, tier: Tier, until: float) -> Found:
    """What a gate finds, with all that its server left when it is missed."""
    folder = Path(tempfile.mkdtemp(prefix=f"{gate.name}-"))
    begun = time.monotonic()
    run = Run(gate.size(tier), folder, tier, until)
    figures, error = [], ""
    try:
        figures = gate.measure(run)
    except Exception:
        error = traceback.format_exc()
    found = Found(gate, run.size, time.monotonic() - begun, figures, error)
    if found.holds:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"    what there was is kept in {folder}", flush=True)
    return found


def chosen(names: Sequence[str], tier: Tier) -> list[Gate]:
    """Those with a name, or all that have something to do."""
    known = {each.name: each for each in GATES}
    wanted = [known[name] for name in names] if names else GATES
    return [each for each in wanted if each.size(tier)]


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tier", choices=[each.value for each in Tier], default="change"
    )
    parser.add_argument("--only", nargs="*", default=[], metavar="GATE")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="of all of them"
    )
    parser.add_argument("--output", type=Path, default=Path("gates_output"))
    parser.add_argument("--publish", action="store_true", help=f"write to {PAGE.name}")
    wanted = parser.parse_args()
    tier = Tier(wanted.tier)
    gates = chosen(wanted.only, tier)
    about = report.machine(tier)
    every: list[Found] = []
    end = time.monotonic() + wanted.minutes * 60
    for number, gate in enumerate(gates):
        # Each has its share of what is left, by what it needs; a night has no such figures.
        needs = [each.seconds if tier is Tier.CHANGE else 1 for each in gates[number:]]
        share = (end - time.monotonic()) * needs[0] / sum(needs)
        found = measured(gate, tier, time.monotonic() + max(0.0, share))
        print(report.terminal(found), flush=True)
        every.append(found)
        report.write(every, about, wanted.output)
        if wanted.publish:
            report.publish(report.markdown(every, about), PAGE)
    missed = [each.gate.name for each in every if not each.holds]
    minutes = sum(each.seconds for each in every) / 60
    print(f"{len(every)} gates, {minutes:.1f} minutes, missed: {missed or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

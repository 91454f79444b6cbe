"""R2: what is mounted changes under load, and nobody notices but by newer answers."""

from __future__ import annotations

import time
from itertools import cycle
from typing import Final

from tests.gates.gate import Figure, Run, none, percentile, seconds
from tests.gates.subject import Subject
from tests.reload.crowd import Crowd
from tests.reload.mount import CHANGES, UNLOADABLE, Mount, expected, told
from tests.wire.calls import connect
from tests.wire.waiting import until

UNARY: Final = 14
STREAMS: Final = 6
SEEN_WITHIN: Final = 60.0  # seconds, on a machine that has no time

# What Python and OpenVINO allocate when they do a thing for the first times is no loss.
ROUNDS_BEFORE: Final = 4
GROWTH_MIB: Final = 20


def lossless(run: Run) -> list[Figure]:
    """Changes of every kind of file, while twenty clients ask all the time, lose no
    request, mix no old with new, and leave nothing behind.
    """
    mount = Mount(run.folder)
    flags = ("--config_path", str(mount.config))
    generations = dict.fromkeys(CHANGES, 1)
    taken: list[float] = []
    sizes: list[int] = []
    with (
        Subject(
            run.folder, *flags, "--calculators_path", str(mount.calculators)
        ) as subject,
        connect(subject.ready()) as channel,
    ):
        with Crowd(subject.ready(), UNARY, STREAMS) as crowd:
            crowd_is_there = until(lambda: crowd.streams, SEEN_WITHIN)
            before = subject.state()
            for _, kind in zip(run.times(), cycle(CHANGES), strict=False):
                generations[kind] += 1
                begun = time.monotonic()
                CHANGES[kind](mount, generations[kind])
                number = expected(kind, generations[kind])
                is_seen = until(lambda: told(channel, kind) == number, SEEN_WITHIN)  # noqa: B023 # called at once
                taken.append(time.monotonic() - begun if is_seen else SEEN_WITHIN)
                sizes.append(subject.memory())
        figures = [
            Figure("reloads", len(taken)),
            none("clients that never came", 0 if crowd_is_there else 1),
            none("changes that were not seen", taken.count(SEEN_WITHIN)),
            Figure("answers", crowd.answers, at_least=len(taken)),
            none("answers that were lost, refused or mixed", len(crowd.complaints)),
            seconds("until a change is served, median", percentile(taken, 50)),
            seconds("until a change is served, p99", percentile(taken, 99)),
            *growth(sizes),
            *subject.left(before, expected=UNLOADABLE),
        ]
        subject.ask_to_stop()
        return [*figures, none("exit codes other than 0", subject.code() != 0)]


def growth(sizes: list[int]) -> list[Figure]:
    """Of the memory after each reload, in bytes; nothing if these are too few to tell."""
    first = ROUNDS_BEFORE * len(CHANGES)
    if len(sizes) <= first:
        return []
    grown = (sizes[-1] - sizes[first]) / (1 << 20)
    what = f"memory after reload {len(sizes)}, beyond that after {first}"
    return [Figure(what, grown, "MiB", at_most=GROWTH_MIB)]

"""The gates R1 to R20, and how much of each is done: in the suite, for a change, and in a
night.
"""

from __future__ import annotations

from typing import Final

from tests.gates import (
    bombs,
    cancels,
    crowds,
    deadlines,
    drains,
    health,
    kills,
    load,
    malformed,
    memory,
    readers,
    reloads,
    starts,
    suites,
)
from tests.gates.gate import Gate

GATES: Final = (
    Gate("R1", load.held, "seconds", 2, 60, 3600, 72),
    Gate("R2", reloads.lossless, "reloads", 28, 70, 2800, 60),
    Gate("R3", suites.bad_reloads, "rounds", 0, 1, 20, 30),
    Gate("R4", malformed.told, "examples", 300, 10_000, 2_000_000, 170),
    Gate("R5", kills.survived, "kills", 0, 20, 500, 15),
    Gate("R6", suites.misbehaviour, "rounds", 0, 1, 100, 290),
    Gate("R7", crowds.freed, "streams", 0, 1000, 5000, 10),
    Gate("R8", readers.bounded, "streams", 0, 20, 500, 26),
    Gate("R9", deadlines.kept, "calls", 480, 5000, 100_000, 9),
    Gate("R10", cancels.harmless, "cancels at each point", 3, 100, 10_000, 19),
    Gate("R11", bombs.refused, "bombs of each kind", 1, 10, 640, 13),
    Gate("R12", crowds.opened, "streams", 0, 1000, 5000, 9),
    Gate("R13", memory.steady, "calls", 1920, 20_000, 10_000_000, 41),
    Gate("R14", drains.clean, "servers", 1, 1, 20, 18),
    Gate("R15", health.true, "seconds of load", 0, 20, 86_400, 33),
    Gate("R16", suites.connections, "rounds", 0, 1, 20, 42),
    Gate("R17", suites.timestamps, "rounds", 0, 1, 50, 19),
    Gate("R18", starts.told, "starts", 0, 2, 200, 14),
    Gate("R19", load.crossing, "requests of a client", 0, 200, 150_000, 18),
    Gate("R20", suites.clients, "rounds", 0, 1, 10, 20),
)
"""Of each: what measures it, what its sizes count, the sizes, smallest first, and how many
seconds the middle one takes. A smallest of 0 is for what the suite tries in other tests."""

"""Cases take turns: in each round each gets a slice for each server, so that a machine
that slows down slows all of them, and what is told are medians of rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.bench.cases import Case
from tests.bench.fleet import Fleet, Slice
from tests.bench.servers import CANNED, Server


@dataclass(slots=True)
class Row:
    """One case on one server, or on what stands for the limit: a slice of each round."""

    case: str
    server: str
    load: Callable[[float], Slice]
    slices: list[Slice] = field(default_factory=list[Slice])

    @property
    def rates(self) -> list[float]:
        """Of the rounds."""
        return [each.rate for each in self.slices]

    @property
    def rate(self) -> float:
        """Answers per second: the median of the rounds."""
        return statistics.median(self.rates)

    def percentile(self, share: float) -> float | None:
        """Milliseconds: the median over rounds of this percentile; None if nobody
        looked at single answers.
        """
        found = [
            float(np.percentile(each.latencies, share)) * 1e3
            for each in self.slices
            if max(each.latencies, default=0.0) > 0
        ]
        return statistics.median(found) if found else None

    def cpu(self, whose: str = "cpu") -> float:
        """Microseconds of CPU per answer, of the server (`cpu`) or of the clients
        (`client_cpu`): the median of the rounds; 0 if nobody counted.
        """
        spent = [
            getattr(each, whose) / max(len(each.latencies), 1) for each in self.slices
        ]
        return statistics.median(spent) * 1e6

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "case": self.case,
            "server": self.server,
            "per second": round(self.rate, 1),
            "rounds": [round(rate, 1) for rate in self.rates],
            "cpu us": round(self.cpu(), 1),
            "client cpu us": round(self.cpu("client_cpu"), 1),
            "p50 ms": _rounded(self.percentile(50)),
            "p99 ms": _rounded(self.percentile(99)),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def rows_of(case: Case, servers: list[Server], fleet: Fleet) -> Iterator[Row]:
    """A row for each server; each has answered once, and rightly, by then."""
    for server in servers:

        def load(seconds: float, server: Server = server) -> Slice:
            work = case.work(server.address, seconds)
            return fleet.load(work, server.pid)

        if server.name != CANNED:  # which pays no heed to a client that is not ours
            server.ask(case)
        yield Row(case.name, server.name, load)


def measure(rows: list[Row], rounds: int, seconds: float, title: str) -> None:
    """Give each row a slice of each round."""
    for row in rows:
        row.load(
            min(0.3, seconds)
        )  # what is slow the first time is not what is measured
    for number in range(rounds):
        print(f"{title}: round {number + 1} of {rounds}", flush=True)
        for row in rows:
            row.slices.append(row.load(seconds))


def ratio(above: Row, *below: Row) -> float:
    """The median over rounds of rate / mean rate of `below`."""
    found = [
        one / statistics.mean(others)
        for one, *others in zip(above.rates, *(row.rates for row in below), strict=True)
    ]
    return statistics.median(found)


def latency_ratio(above: Row, below: Row) -> float:
    """The median over rounds of median latency / median latency of `below`."""
    found = [
        float(np.median(one.latencies) / np.median(other.latencies))
        for one, other in zip(above.slices, below.slices, strict=True)
    ]
    return statistics.median(found)

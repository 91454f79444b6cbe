"""Several clients at a time, each a process: no interpreter lock between two of them."""

from __future__ import annotations

import multiprocessing
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from pathlib import Path
from time import perf_counter
from typing import Final

from tests.bench import client
from tests.bench.client import Seen, Work

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_CONNECTS_WITHIN: Final = 60.0
_GONE: Final = (FileNotFoundError, ProcessLookupError)


class LoadFailed(Exception):
    """A client could not do its work."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What all clients together have seen in a slice of a round. `cpu` is what the
    server took in seconds, `client_cpu` what the clients did.
    """

    seconds: float
    latencies: array[float]
    cpu: float = 0.0
    client_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds


class Fleet:
    """Client processes that wait for work."""

    def __init__(self, pipes: Sequence[Pipe]) -> None:
        self._pipes = pipes

    def load(self, works: Sequence[Work], server: int | None = None) -> Slice:
        """Do all of `works` at once, each in a process; `server` is the one whose CPU
        and whose descendants' is counted. Raises LoadFailed.
        """
        pipes = self._pipes[: len(works)]
        for pipe, work in zip(pipes, works, strict=True):
            pipe.send(work)
        said: list[Seen | None] = [_receive(pipe) for pipe in pipes]
        for pipe, early in zip(pipes, said, strict=True):
            if early is None:
                pipe.send(None)
        before, begun = cpu_of(server), perf_counter()
        seen = [early or _receive(p) for p, early in zip(pipes, said, strict=True)]
        spent, taken = cpu_of(server) - before, perf_counter() - begun
        every = array("d")
        for each in seen:
            if each is None or each.error:
                raise LoadFailed(each.error if each else "a client is confused")
            every += each.latencies
        seconds = works[0].seconds
        # What was answered late is not counted, but was worked for.
        cpu = spent * min(1.0, seconds / taken)
        return Slice(seconds, every, cpu, sum(each.cpu for each in seen if each))


def _receive(pipe: Pipe) -> Seen | None:
    if not wait([pipe], _CONNECTS_WITHIN * 3):
        raise LoadFailed("a client does not answer")
    return pipe.recv()


@contextmanager
def clients(count: int) -> Iterator[Fleet]:
    """So many processes, until the end of the block."""
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(count)]
    processes = [
        context.Process(target=client.serve, args=(theirs,), daemon=True)
        for _, theirs in pairs
    ]
    for process in processes:
        process.start()
    try:
        yield Fleet([ours for ours, _ in pairs])
    finally:
        for process in processes:
            process.terminate()
            process.join()


def share(work: Work, processes: int) -> list[Work]:
    """The same load from several processes: requests in flight are shared out, or
    streams if there are any.
    """
    if work.streams:
        count = min(processes, work.streams)
        return [
            replace(work, streams=work.streams // count + (n < work.streams % count))
            for n in range(count)
        ]
    count = min(processes, work.in_flight)
    return [
        replace(work, in_flight=work.in_flight // count + (n < work.in_flight % count))
        for n in range(count)
    ]


def cpu_of(process: int | None) -> float:
    """Seconds of CPU that a process and its descendants have had."""
    if process is None:
        return 0.0
    total = 0.0
    pending = [process]
    while pending:
        each = pending.pop()
        try:
            stat = Path(f"/proc/{each}/stat").read_text()
            tasks = [*Path(f"/proc/{each}/task").iterdir()]
        except _GONE:
            continue
        fields = stat.rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS
        for task in tasks:
            with suppress(*_GONE):  # a thread may end at any time
                pending += map(int, (task / "children").read_text().split())
    return total

"""R5: a process that is killed costs the calls that it had, and these are told at once;
another takes its place, and the server goes on.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import grpc

from tests.gates.gate import Figure, Run, none, percentile, seconds
from tests.gates.subject import Subject, build
from tests.python_nodes import site
from tests.wire import zoo
from tests.wire.calls import ask, connect, floats, refusal, text
from tests.wire.waiting import until
from tests.workers.servers import WHO, Workers, becomes

CALLERS: Final = 3
PAUSE: Final = 0.01
"""Seconds between two calls of a client: the processors have room for a process."""

TOLD_WITHIN: Final = 0.1
REPLACED_WITHIN: Final = 2.0
"""Seconds beyond those that it took to start at first."""

NODES: Final = range(7)
"""What ends often is started again later and later; in turn each has time to be well."""

KILLS_FOR_A_SERVER: Final = 10
"""So many handlers' processes are killed for a server of which both workers are."""

HANDLER: Final = {"handler": WHO}
FIVE: Final = floats(1, 2, 3, 4, 5)


class Callers:
    """Clients of one connection each that ask all the time."""

    def __init__(self, channels: list[grpc.Channel], message: bytes) -> None:
        self._message = message
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self.answers = 0
        self.failures: list[tuple[float, str]] = []
        """When, by time.monotonic(), and with which code."""
        self._threads = [
            threading.Thread(target=self._ask, args=(each,)) for each in channels
        ]

    @contextmanager
    def asking(self) -> Iterator[None]:
        """As long as the `with` block lasts."""
        for each in self._threads:
            each.start()
        try:
            yield
        finally:
            self._is_over.set()
            for each in self._threads:
                each.join()

    def _ask(self, channel: grpc.Channel) -> None:
        while not self._is_over.wait(PAUSE):
            code, _ = refusal(channel, self._message)
            with self._lock:
                if code == "OK":
                    self.answers += 1
                else:
                    self.failures.append((time.monotonic(), code))

    def get_on(self) -> bool:
        """Whether they are answered, from now on."""
        before = self.answers
        return until(lambda: self.answers > before + len(self._threads), 60)


def survived(run: Run) -> list[Figure]:
    """Whoever is served by a process that is killed hears UNAVAILABLE at once, everybody
    else notices nothing, and the process is replaced.
    """
    return [*_handlers(run), *_workers(run)]


def _handlers(run: Run) -> list[Figure]:
    """Processes of Python nodes, in turn."""
    told: list[float] = []
    again: list[float] = []
    codes: set[str] = set()
    graphs = {f"alone_{n}": (site.graph(options=site.PROCESS), HANDLER) for n in NODES}
    config = build(run.folder, **graphs)
    with (
        Subject(run.folder, "--config_path", str(config)) as subject,
        ExitStack() as stack,
    ):
        address = subject.ready()
        channels = [stack.enter_context(connect(address)) for _ in range(CALLERS)]
        victim = stack.enter_context(connect(address))
        others = Callers(channels, ask("echo", {"in": FIVE}).SerializeToString())
        with others.asking():
            assert others.get_on()
            before = subject.state()
            for number in run.times():
                name = f"alone_{NODES[number % len(NODES)]}"
                flag = run.folder / f"flag_{number}"
                taken, code = _killed(victim, name, flag)
                told.append(taken)
                codes.add(code)
                begun = time.monotonic()
                word = ask(name, {"in": text("who")})
                is_back = until(lambda: refusal(victim, word)[0] == "OK", 60)  # noqa: B023 # called at once
                again.append(time.monotonic() - begun if is_back else math.inf)
        return [
            Figure("handlers' processes killed", len(told)),
            none("codes other than UNAVAILABLE", len(codes - {"UNAVAILABLE"})),
            seconds("until its call is told, p99", percentile(told, 99), TOLD_WITHIN),
            seconds(
                "until another one answers, p99", percentile(again, 99), REPLACED_WITHIN
            ),
            Figure("answers of a graph beside it", others.answers, at_least=1),
            none("failures of a graph beside it", len(others.failures)),
            *subject.left(before, expected=("the node's process ended",)),
        ]


def _killed(channel: grpc.Channel, name: str, flag: Path) -> tuple[float, str]:
    """Seconds from the end of a process until the call is told that it had, and how."""
    heard: list[tuple[float, str]] = []

    def call() -> None:
        code, _ = refusal(channel, ask(name, {"in": text(f"until {flag}")}))
        heard.append((time.monotonic(), code))

    caller = threading.Thread(target=call)
    caller.start()
    assert until(lambda: [*flag.parent.glob(f"{flag.name}.*")], 60)
    (seen,) = flag.parent.glob(f"{flag.name}.*")
    begun = time.monotonic()
    os.kill(int(seen.suffix[1:]), signal.SIGKILL)
    caller.join()
    ((at, code),) = heard
    return at - begun, code


def _workers(run: Run) -> list[Figure]:
    """Both workers of a server, one after the other, and of as many servers as that
    takes: what ends often is started again later and later.
    """
    told: list[float] = []
    again: list[float] = []
    codes: set[str] = set()
    bystanders = kills = survivors = 0
    for number in range(max(1, run.size // KILLS_FOR_A_SERVER)):
        folder = run.folder / f"workers_{number}"
        folder.mkdir()
        zoo.add_graph(folder, "who", zoo.words(), speaker=WHO)
        config = zoo.write_config(folder, [], [{"name": "who"}])
        begun = time.monotonic()
        with Workers(folder, "--config_path", str(config)) as server:
            server.ready()
            first = (time.monotonic() - begun) / 2
            for _ in range(2):
                with ExitStack() as stack:
                    channels = server.channels(stack, per_worker=CALLERS)
                    victim, survivor = channels
                    message = ask("who", {"word": text("")}).SerializeToString()
                    served = Callers(channels[victim], message)
                    others = Callers(channels[survivor], message)
                    with served.asking(), others.asking():
                        assert served.get_on() and others.get_on()
                        times = server.times_ready()
                        begun = time.monotonic()
                        os.kill(victim, signal.SIGKILL)
                        becomes(lambda: server.times_ready() > times)  # noqa: B023 # called at once
                        again.append(time.monotonic() - begun - first)
                        others.get_on()
                    kills += 1
                    told += [at - begun for at, _ in served.failures[:CALLERS]]
                    codes |= {code for _, code in served.failures}
                    bystanders += len(others.failures)
            survivors += server.process.poll() is None
    return [
        Figure("server's workers killed", kills),
        none("codes of its calls other than UNAVAILABLE", len(codes - {"UNAVAILABLE"})),
        seconds("until its calls are told, p99", percentile(told, 99), TOLD_WITHIN),
        seconds(
            "until there is another, beyond the first start, p99",
            percentile(again, 99),
            REPLACED_WITHIN,
        ),
        none("failures of calls to the other worker", bystanders),
        none("servers that ended", kills // 2 - survivors),
    ]

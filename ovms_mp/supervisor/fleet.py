"""All workers: started one first and then the others, replaced when they end, told what
the others serve, counted as one, stopped together.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from ovms_mp.supervisor import reports
from ovms_mp.supervisor.channel import Message
from ovms_mp.supervisor.reports import Reports, problems
from ovms_mp.supervisor.restarts import Restarts
from ovms_mp.supervisor.weights import Weights
from ovms_mp.supervisor.worker import State, Worker, WorkerGone
from ovms_mp.telemetry import families, page
from ovms_mp.telemetry.families import Family
from ovms_mp.telemetry.page import Page, Sample, Section

log = logging.getLogger(__name__)

PAGE_SECONDS: Final = 2.0
"""A worker that has not told its metrics by then is shown as it was last."""

PING_SECONDS: Final = 2.0
HANG_SECONDS: Final = 60.0
"""A worker that does not answer for so long is killed. Python handlers in its process
can hold the interpreter that would answer."""

RELOAD_SECONDS: Final = 600.0
"""Large models take minutes to compile; the next worker does not wait for ever."""

SEEN_SECONDS: Final = 0.5
TRACE_SECONDS: Final = 45.0
"""Beside those in which it is recorded."""

STOP_SECONDS: Final = 12.0
"""Calls in flight have five of these, and calculators three."""


class Fleet:
    """`count` workers, each started with what `order` says for its number; the first
    one of all is told to listen before it has loaded.

    In one event loop: `run` once, `stop` at any time.
    """

    def __init__(
        self,
        count: int,
        order: Callable[[int, bool], Message],
        *,
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        self._count = count
        self._order = order
        self._hang_seconds = hang_seconds
        self._workers: dict[int, Worker] = {}
        self._ended: Page = ()
        self._restarts = 0
        self._is_whole = False
        self._has_served = asyncio.Event()
        self._is_stopping = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._tracing = asyncio.Lock()
        self._weights = Weights()
        self._code = 0

    async def run(self) -> int:
        """Keep the workers until `stop`; returns the exit code. If the first one ends
        before it serves, its exit code is the server's.
        """
        keepers = [asyncio.create_task(self._keep(1))]
        serving = asyncio.create_task(self._has_served.wait())
        try:
            await asyncio.wait({serving, *keepers}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done() and not self._is_stopping.is_set():
                others = range(2, self._count + 1)
                keepers += [asyncio.create_task(self._keep(n)) for n in others]
            codes = await asyncio.gather(*keepers)
            return max(self._code, *codes)
        finally:
            serving.cancel()
            self._kill()

    def stop(self) -> None:
        """Let calls in flight end. Who asks twice does not want to wait."""
        if self._is_stopping.is_set():
            self._code = 1
            self._kill()
            return
        self._is_stopping.set()
        for worker in self._workers.values():
            _stop(worker)
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._kill)

    async def reload(self) -> Reports:
        """Have the workers look at what is mounted, one after the other, so that only
        one at a time is busy with what is new; the log has what came of it.
        """
        async with self._reloading:
            said: dict[int, Any] = {}
            for number in range(1, self._count + 1):
                worker = self._workers.get(number)
                if worker is None or worker.state is None:
                    continue  # it is about to look
                said[number] = None
                with suppress(WorkerGone, TimeoutError):
                    said[number] = await worker.ask("reload", RELOAD_SECONDS)
        wrong = problems(said)
        for line in wrong:
            log.error("reload: %s", line)
        if not wrong:
            log.info("reload: all that is mounted is served by all workers")
        return said

    def _kill(self) -> None:
        for worker in self._workers.values():
            worker.kill()

    async def _keep(self, number: int) -> int:
        """One worker after the other. Returns an exit code when there is to be none any
        more.
        """
        restarts = Restarts()
        while True:
            ending, served_seconds = await self._one(number)
            if self._is_stopping.is_set():
                return 0
            if not self._has_served.is_set():
                if ending.code <= 0:  # otherwise it has said why
                    log.error("The server cannot start: its worker %s", ending)
                return max(ending.code, 1)
            delay = restarts.delay(served_seconds)
            self._restarts += 1
            log.error(
                "worker %d %s%s: another one is started %s",
                number,
                ending,
                f", {restarts.in_a_row} times in a row" if delay else "",
                f"in {delay:g} s" if delay else "now",
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_stopping.wait(), delay)
                return 0

    async def _one(self, number: int) -> tuple[Ending, float]:
        """A worker's life: how it ended, and how long it served."""
        try:
            order = self._order(number, not self._has_served.is_set())
            worker = await Worker.start(number, order)
        except OSError as error:
            return Ending(0, f"cannot be started: {error.strerror}"), 0.0
        self._workers[number] = worker
        if self._is_stopping.is_set():
            worker.kill()
        asking = asyncio.create_task(self._kill_if_it_hangs(worker))
        try:
            code = await worker.listen(self._changed, partial(self._answer, worker))
            return Ending(code), worker.served_seconds
        finally:
            asking.cancel()
            del self._workers[number]
            self._ended = page.merged([self._ended, page.history(worker.page)])
            self._changed()

    async def _kill_if_it_hangs(self, worker: Worker) -> None:
        with suppress(WorkerGone):
            while True:
                await asyncio.sleep(PING_SECONDS)
                try:
                    await worker.ask("ping", self._hang_seconds)
                except TimeoutError:
                    text = "worker %d has not answered for %g s: killed"
                    log.error(text, worker.number, self._hang_seconds)
                    worker.kill()
                    return

    def _changed(self) -> None:
        self._weights.keep(
            {file for each in self._workers.values() for file in each.borrowed}
        )
        self._publish()

    def _publish(self) -> None:
        """Tell each worker what holds for all: ready are those names, and those versions,
        that are so in every worker that serves, and the whole if no worker is missing.
        """
        serving = [each for each in self._workers.values() if each.state is not None]
        if serving:
            self._has_served.set()
        states = [each.state for each in serving if each.state is not None]
        is_whole = len(states) == self._count
        is_ready = is_whole and all(each.is_ready for each in states)
        servables = _common(states)
        for worker in serving:
            worker.say("fleet", is_ready=is_ready, servables=servables)
        if is_whole and not self._is_whole:
            log.info("all %d workers serve", self._count)
        self._is_whole = is_whole

    async def _answer(self, worker: Worker, message: Message) -> Any:
        match message["ask"]:
            case "page":
                return page.to_json(await self._page())
            case "reload":
                return reports.to_json(await self.reload())
            case "seen":
                viewer, graph = message["viewer"], message["graph"]
                asked = {"viewer": viewer, "graph": graph}
                return await self._ask_others(worker, "seen", SEEN_SECONDS, **asked)
            case "trace":
                return await self._trace(worker, message["seconds"])
            case "weights":
                return await self._lend(worker, Path(message["path"]))
            case other:
                raise ValueError(f"{other!r} is nothing to ask a supervisor")

    async def _trace(self, worker: Worker, seconds: float) -> Any:
        if self._tracing.locked():
            return None
        async with self._tracing:
            within = seconds + TRACE_SECONDS
            return await self._ask_others(worker, "trace", within, seconds=seconds)

    async def _ask_others(
        self, asking: Worker, what: str, within: float, **more: Any
    ) -> dict[str, Any]:
        """The answers of all workers that serve, but of who asks, by their numbers."""
        others = [
            each
            for each in self._workers.values()
            if each is not asking and each.state is not None
        ]
        answers = await asyncio.gather(
            *(each.ask(what, within, **more) for each in others), return_exceptions=True
        )
        return {
            str(each.number): None if isinstance(answer, BaseException) else answer
            for each, answer in zip(others, answers, strict=True)
        }

    async def _lend(self, worker: Worker, path: Path) -> str | None:
        try:
            return await self._weights.lend(path, worker.borrowed)
        except OSError as error:
            why = error.strerror
            log.warning("%s is not shared by workers: %s", path.name, why)
            return None

    async def _page(self) -> Page:
        """What all workers count, the ended ones included, and how many there are."""
        serving = [each for each in self._workers.values() if each.state is not None]
        await asyncio.gather(*(each.refresh_page(PAGE_SECONDS) for each in serving))
        own = (
            _section(families.WORKERS, len(serving)),
            _section(families.WORKER_RESTARTS, self._restarts),
        )
        alive = (each.page for each in self._workers.values())
        return page.merged([self._ended, *alive, own], families.FLAGS)


class Ending(NamedTuple):
    """How a worker ended: by an exit code, or a signal if it is negative."""

    code: int
    text: str = ""

    def __str__(self) -> str:
        if self.text:
            return self.text
        if self.code >= 0:
            return f"ended with exit code {self.code}"
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-self.code).name}"
        return f"was ended by signal {-self.code}"


def _stop(worker: Worker) -> None:
    if worker.state is None:
        worker.kill()  # it has no calls yet that could end well
    else:
        worker.say("stop")


def _common(states: Sequence[State]) -> dict[str, list[str]]:
    """The names that are ready in all of these, and which of their versions are: none,
    while some workers have a new one already, and others the one before.
    """
    if not states:
        return {}
    first, *others = states
    common: dict[str, list[str]] = {}
    for name, versions in first.servables.items():
        if all(each.servables.get(name) for each in others):
            common[name] = [
                version
                for version in versions
                if all(version in each.servables[name] for each in others)
            ]
    return common


def _section(family: Family, value: int) -> Section:
    sample = Sample(family.name, ())
    return Section(family.name, family.kind.name.lower(), family.help, {sample: value})

"""One worker process, as the supervisor sees it: what it says, what it answers, and how
it ended.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

from ovms_mp.supervisor import channel
from ovms_mp.supervisor.channel import ChannelError, Message
from ovms_mp.telemetry import page
from ovms_mp.telemetry.page import Page

log = logging.getLogger(__name__)

PROGRAM: Final = (sys.executable, "-P", "-m", "ovms_mp.worker")
"""Started anew, never forked: gRPC and OpenVINO do not survive a fork."""


@dataclass(frozen=True, slots=True)
class State:
    """What a worker says of itself; `servables` are the versions that are ready, by
    name.
    """

    is_ready: bool
    servables: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, message: Message) -> Self:
        """What a `state` says. Raises ChannelError."""
        try:
            servables = {
                str(name): tuple(map(str, versions))
                for name, versions in message["servables"].items()
            }
            return cls(message["is_ready"] is True, servables)
        except (AttributeError, KeyError, TypeError) as error:
            raise ChannelError("not a state") from error


class WorkerGone(Exception):
    """The worker ended before it answered, or could not."""


Link: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

LAST_WORDS_SECONDS: Final = 1.0
"""To read what a process said before it ended; its children may keep the link open."""

LEAVE_SECONDS: Final = 10.0
"""A process that has closed its link, which is its last act, has this long to end."""


class Worker:
    """A running process. To be used in the supervisor's event loop."""

    def __init__(
        self, number: int, process: asyncio.subprocess.Process, link: Link
    ) -> None:
        self.number = number
        self.state: State | None = None
        """None until it serves."""
        self.page: Page = ()
        """The last that is known of it."""
        self.borrowed: Counter[str] = Counter()
        """Files that it was lent, and has not returned."""
        self._process = process
        self._reader, self._writer = link
        self._questions: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()
        self._is_over = False
        self._serving_since: float | None = None

    @classmethod
    async def start(cls, number: int, order: Message) -> Self:
        """Start a process and tell it to do what `order` says. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *PROGRAM,
                    str(theirs.fileno()),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    # Ctrl-C in a terminal is for the supervisor, which then stops all.
                    start_new_session=True,
                )
            link = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        worker = cls(number, process, link)
        worker.say("serve", **order)
        return worker

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def served_seconds(self) -> float:
        """How long it has served, 0 if it does not yet."""
        since = self._serving_since
        return 0.0 if since is None else time.monotonic() - since

    def say(self, what: str, **more: Any) -> None:
        """Tell it; nothing if it is gone."""
        self._send({"say": what, **more})

    async def ask(self, what: str, within: float, **more: Any) -> Any:
        """Its answer. Raises WorkerGone, or TimeoutError after so many seconds."""
        if self._is_over:
            raise WorkerGone
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._questions[number] = future
        self._send({"ask": what, "id": number, **more})
        try:
            return await asyncio.wait_for(future, within)
        finally:
            del self._questions[number]

    async def refresh_page(self, within: float) -> None:
        """Ask for its page; the last one stays if it does not answer well, or in time."""
        with suppress(WorkerGone, TimeoutError, ValueError):
            self.page = page.from_json(await self.ask("page", within))

    async def listen(
        self, changed: Callable[[], object], answer: Callable[[Message], Awaitable[Any]]
    ) -> int:
        """Hear what it says until it has ended: `changed` is called after each thing,
        `answer` is asked what it asks. Returns the exit code, which is negative if a
        signal ended it.
        """
        reading = asyncio.create_task(self._read(changed, answer))
        exiting = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait({reading, exiting}, return_when=asyncio.FIRST_COMPLETED)
            patience = LAST_WORDS_SECONDS if exiting.done() else LEAVE_SECONDS
            await asyncio.wait({reading, exiting}, timeout=patience)
            self.kill()
            if reading.done():
                reading.result()  # raises what must not be missed
            return await exiting
        finally:
            reading.cancel()
            self._is_over = True
            self.state = None
            for future in self._questions.values():
                if not future.done():
                    future.set_exception(WorkerGone("it has ended"))
            self._writer.close()

    async def _read(
        self, changed: Callable[[], object], answer: Callable[[Message], Awaitable[Any]]
    ) -> None:
        answering: set[asyncio.Task[None]] = set()
        try:
            while (message := await self._receive()) is not None:
                if "ask" in message:
                    task = asyncio.create_task(self._answer(message, answer))
                    answering.add(task)
                    task.add_done_callback(answering.discard)
                elif "say" in message:
                    self._heard(message)
                    changed()
                else:
                    self._answered(message)
        except (ChannelError, ValueError) as error:
            log.error("worker %d talks nonsense (%s): killed", self.number, error)
            self.kill()
        finally:
            for task in answering:
                task.cancel()

    def kill(self) -> None:
        """End the process at once; nothing if it has ended."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    def _send(self, message: Message) -> None:
        if not self._is_over:
            self._writer.write(channel.pack(message))

    async def _receive(self) -> Message | None:
        try:
            head = await self._reader.readexactly(channel.HEAD_BYTES)
            body = await self._reader.readexactly(channel.length_of(head))
        except (asyncio.IncompleteReadError, OSError):
            return None
        return channel.unpack(body)

    def _heard(self, message: Message) -> None:
        match message["say"]:
            case "state":
                self.state = State.of(message)
                if self._serving_since is None:
                    self._serving_since = time.monotonic()
            case "counted":
                self.page = page.from_json(message.get("page"))
            case "returned":
                self.borrowed -= Counter([str(message.get("file"))])
            case other:
                raise ChannelError(f"{other!r} is nothing that a worker says")

    def _answered(self, message: Message) -> None:
        future = self._questions.get(message.get("id", -1))
        if future is None or future.done():
            return  # it came too late
        if "error" in message:
            future.set_exception(WorkerGone(str(message["error"])))
        else:
            future.set_result(message.get("result"))

    async def _answer(
        self, message: Message, answer: Callable[[Message], Awaitable[Any]]
    ) -> None:
        try:
            told = {"result": await answer(message)}
        except Exception as error:
            log.exception("worker %d asked in vain", self.number)
            told = {"error": str(error)}
        self._send({"id": message.get("id"), **told})

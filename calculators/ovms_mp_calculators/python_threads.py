"""Where handlers run that do not run on the graph's own thread: coroutines on one event
loop, calls that overlap on threads of their own.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from ovms_mp.core.pending import Pending

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_THREADS: Final = 64
"""Threads for calls that overlap; more calls wait for one."""


class BackgroundLoop:
    """One event loop in a thread of its own, started when it is needed first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> Pending[T]:
        """Run it; to cancel the result cancels the task. It sees the caller's context."""
        loop = self._running()
        task: asyncio.Task[None] | None = None

        def cancel() -> None:
            if task is not None:
                task.cancel()

        pending: Pending[T] = Pending(lambda: loop.call_soon_threadsafe(cancel))

        def start() -> None:
            nonlocal task
            if pending.is_settled:
                coroutine.close()
                return
            task = loop.create_task(_settle(coroutine, pending))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        loop.call_soon_threadsafe(start)
        return pending

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_run_forever,
                    args=(self._loop,),
                    name="coroutines",
                    daemon=True,  # a handler may not come to an end
                ).start()
            return self._loop


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            loop.run_forever()
        except BaseException:  # sys.exit in a task that a handler made
            log.exception("a task of a handler's went wrong")


async def _settle(coroutine: Coroutine[Any, Any, T], pending: Pending[T]) -> None:
    try:
        pending.complete(await coroutine)
    except BaseException as error:  # foreign code; nothing may reach the loop
        pending.fail(error)


class Crew:
    """Threads that are made as they are needed, and end with the process whatever they
    do then.
    """

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self._left = max_threads
        self._idle = 0
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def run(self, call: Callable[[], T]) -> Pending[T]:
        """Make the call on one of the threads."""
        pending: Pending[T] = Pending()

        def make() -> None:
            if pending.is_settled:
                return
            try:
                pending.complete(call())
            except BaseException as error:  # foreign code
                pending.fail(error)

        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._left:
                self._left -= 1
                threading.Thread(target=self._work, name="handler", daemon=True).start()
        self._calls.put(make)
        return pending

    def _work(self) -> None:
        while True:
            self._calls.get()()
            with self._lock:
                self._idle += 1


LOOP: Final = BackgroundLoop()
CREW: Final = Crew()

"""An event loop lives in a thread of its own and ends when nothing runs on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TypeVar

from ovms_mp.frontend.transport.vital import VitalThread

T = TypeVar("T")


class LoopThread:
    """A running event loop. Methods may be called from any thread."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = VitalThread(self._run, name)
        self._background: set[asyncio.Task[None]] = set()
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether the caller's thread is the loop's."""
        return threading.current_thread() is self._thread

    def post(self, callback: Callable[[], object]) -> None:
        """Call `callback` on the loop, at once if the caller is there. Nothing happens
        when the loop has ended.
        """
        if self.is_here:
            callback()
            return
        with suppress(RuntimeError):  # the loop is closed, and what it served is gone
            self.loop.call_soon_threadsafe(callback)

    def call(self, coroutine: Coroutine[object, None, T], limit: float) -> T:
        """Run `coroutine` on the loop and wait for its result, from another thread.

        Raises what it raises, TimeoutError after `limit` seconds, and RuntimeError if
        the loop has ended.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except RuntimeError:
            coroutine.close()
            raise
        return future.result(limit)

    def spawn(self, coroutine: Coroutine[object, None, None]) -> None:
        """Run `coroutine` beside the caller, which is on the loop. It must not raise."""
        # The loop itself refers weakly to its tasks.
        task = self.loop.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def end_after(self, coroutine: Coroutine[object, None, None]) -> None:
        """End the loop when `coroutine` and everything else on it is done. To be called
        once.
        """

        async def end() -> None:
            this = asyncio.current_task()
            try:
                await coroutine
            finally:
                while others := asyncio.all_tasks() - {this}:
                    await asyncio.wait(others)
                self.loop.stop()

        self.post(lambda: self.spawn(end()))

    def join(self, limit: float) -> bool:
        """Wait until the loop has ended; False if it has not after `limit` seconds."""
        self._thread.join(limit)
        return not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()

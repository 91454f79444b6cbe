"""A handler that runs in this process: its methods are called under its node's name, and
whatever they raise, exit or fork ends in an error of the call.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any, Final, TypeVar, cast

from ovms_mp.core.pending import Pending
from ovms_mp_calculators.python_model import Answer, Tensors, declared, tensors_of
from ovms_mp_calculators.python_output import Voice, listen, speaking
from ovms_mp_calculators.python_threads import CREW, LOOP

T = TypeVar("T")

log = logging.getLogger(__name__)

_UNOPENED: Final = object()
_OVER: Final = object()


class LocalModel:
    """An initialized OvmsPythonModel; see PythonModel. Sessions of several streams use it
    at the same time.
    """

    def __init__(self, voice: Voice, module: ModuleType, model: Any) -> None:
        self.voice = voice
        self.execute = model.execute
        self.open_session = getattr(model, "open_session", None)
        self.close_session = getattr(model, "close_session", None)
        self.is_async = inspect.iscoroutinefunction(
            model.execute
        ) or inspect.isasyncgenfunction(model.execute)
        self.takes_session = _takes_session(model.execute)
        self.has_sessions = bool(
            self.takes_session or self.open_session or self.close_session
        )
        self.tensors = declared(getattr(model, "tensors", {}))
        self._module = module
        self._model = model

    def open(self, *, is_serial: bool) -> LocalSession:
        """See PythonModel."""
        listen()  # others may have put their streams in place since
        return LocalSession(self, is_serial=is_serial)

    def finalize(self) -> None:
        """See PythonModel."""
        finalize = getattr(self._model, "finalize", None)
        if finalize is not None:
            with self.excused("finalize"):
                result = finalize()
                if inspect.iscoroutine(result):
                    LOOP.run(self.excused_later("finalize", result))
        sys.modules.pop(self._module.__name__, None)

    @contextmanager
    def excused(self, what: str) -> Generator[None]:
        """In the block the handler speaks, and nobody waits to hear how it ends."""
        try:
            with foreign(self.voice):
                yield
        except BaseException:  # foreign code, on the way out
            log.exception("%s: %s failed", self.voice.label, what)

    async def excused_later(self, what: str, result: Awaitable[object]) -> None:
        """The same for a coroutine."""
        try:
            await result
        except BaseException:  # foreign code, on the way out
            log.exception("%s: %s failed", self.voice.label, what)


@contextmanager
def foreign(voice: Voice) -> Generator[None]:
    """In the block a handler runs. A process that it forks, and that would go on as if
    it were this one, ends instead.
    """
    process = os.getpid()
    try:
        with speaking(voice), signed(voice):
            yield
    finally:
        if os.getpid() != process:
            os._exit(1)


@contextmanager
def signed(voice: Voice) -> Generator[None]:
    """What is raised in the block says whose it is: in the log, not to clients."""
    try:
        yield
    except BaseException as error:
        if voice.is_at_home:
            error.add_note(voice.label)
        raise


class LocalSession:
    """One stream's, or one unary request's, use of the handler: see ModelSession.

    The handler's session is opened by the first `execute` and closed after the last one
    has come to its end.
    """

    def __init__(self, model: LocalModel, *, is_serial: bool) -> None:
        self._model = model
        self._has_threads = not (is_serial or model.is_async)
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._state: Any = _UNOPENED
        self._opened: asyncio.Task[Any] | None = None
        self._turn = asyncio.Lock()
        self._running = 0
        self._is_closed = False

    def execute(self, inputs: Tensors) -> Answer | Pending[Answer]:
        """See ModelSession."""
        self.begin()
        try:
            if self._model.is_async:
                answer = self._execute_async(inputs)
            elif self._has_threads:
                answer = CREW.run(lambda: self._execute(inputs))
            else:
                answer = self._execute(inputs)
        except BaseException:
            self.end()
            raise
        if isinstance(answer, Pending):
            answer.on_settled(lambda _: self.end())
        else:
            self.end()
        return cast("Answer | Pending[Answer]", answer)

    def _execute(self, inputs: Tensors) -> Answer | Pending[Answer]:
        model = self._model
        with foreign(model.voice):
            if self._state is _UNOPENED:
                self._open()
            if model.takes_session:
                result = model.execute(inputs, session=self._state)
            else:
                result = model.execute(inputs)
        return self._answer(result)

    def _open(self) -> None:
        with self._opening:
            if self._state is _UNOPENED:
                open_session = self._model.open_session
                self._state = open_session() if open_session else SimpleNamespace()

    def _execute_async(self, inputs: Tensors) -> Answer | Pending[Answer]:
        model = self._model
        with foreign(model.voice):
            if inspect.isasyncgenfunction(model.execute):
                return AsyncGeneration(self, self._generate(inputs))
            return LOOP.run(self._await(inputs))

    async def _await(self, inputs: Tensors) -> Answer:
        with signed(self._model.voice):
            result = await self._model.execute(inputs, **await self._keywords())
        answer = self._answer(result)
        if isinstance(answer, Pending):
            raise TypeError("execute must return a list of pyovms.Tensor once awaited")
        return answer

    async def _generate(self, inputs: Tensors) -> AsyncIterator[object]:
        keywords = await self._keywords()
        generator: Any = self._model.execute(inputs, **keywords)
        try:
            async for each in generator:
                yield each
        finally:
            await generator.aclose()

    async def _keywords(self) -> dict[str, Any]:
        if self._opened is None:
            self._opened = asyncio.ensure_future(self._open_async())
        # Who comes when it has just been opened is not to overtake those who waited.
        async with self._turn:
            # To give up one call must not give up what others wait for.
            state = await asyncio.shield(self._opened)
        return {"session": state} if self._model.takes_session else {}

    async def _open_async(self) -> Any:
        open_session = self._model.open_session
        state: Any = open_session() if open_session else SimpleNamespace()
        self._state = await state if inspect.isawaitable(state) else state
        return self._state

    def _answer(self, result: object) -> Answer | Pending[Answer]:
        if inspect.iscoroutine(result):
            coroutine = cast("Coroutine[Any, Any, object]", result)
            with speaking(self._model.voice):
                return LOOP.run(_list_of(coroutine))
        if isinstance(result, AsyncIterator):
            return AsyncGeneration(self, cast("AsyncIterator[object]", result))
        if isinstance(result, Iterator):
            iterator = cast("Iterator[object]", result)
            return SyncGeneration(self, iterator, has_threads=self._has_threads)
        return tensors_of(result, "return")

    @property
    def model(self) -> LocalModel:
        """Whose session it is."""
        return self._model

    def begin(self) -> None:
        """Something of the handler's is under way."""
        with self._lock:
            self._running += 1

    def end(self) -> None:
        """It is not any more."""
        with self._lock:
            self._running -= 1
            is_last = self._is_closed and not self._running
        if is_last:
            self._close()

    def close(self) -> None:
        """See ModelSession."""
        with self._lock:
            is_last = not (self._running or self._is_closed)
            self._is_closed = True
        if is_last:
            self._close()

    def _close(self) -> None:
        if self._model.is_async and self._state is _UNOPENED:
            LOOP.run(self._close_once_opened())
        else:
            self._close_opened()

    async def _close_once_opened(self) -> None:
        # Who went while it was being opened has opened it all the same.
        if self._opened is not None:
            await asyncio.wait([self._opened])
        self._close_opened()

    def _close_opened(self) -> None:
        model, state = self._model, self._state
        if state is _UNOPENED or model.close_session is None:
            return
        with model.excused("close_session"):
            result = model.close_session(state)
            if inspect.iscoroutine(result):
                LOOP.run(model.excused_later("close_session", result))


async def _list_of(coroutine: Coroutine[Any, Any, object]) -> Answer:
    return tensors_of(await coroutine, "return")


class SyncGeneration:
    """An iterator of the handler's; see Generation."""

    def __init__(
        self, session: LocalSession, iterator: Iterator[object], *, has_threads: bool
    ) -> None:
        session.begin()
        self._session = session
        self._iterator = iterator
        self._has_threads = has_threads
        self._lock = threading.Lock()
        """Held while the iterator is at work."""
        self._wants_close = False
        self._is_over = False

    def step(self) -> Tensors | Pending[Tensors | None] | None:
        """See Generation."""
        return CREW.run(self._step) if self._has_threads else self._step()

    def _step(self) -> Tensors | None:
        try:
            with self._lock:
                if self._wants_close:
                    return None
                with foreign(self._session.model.voice):
                    item = next(self._iterator, _OVER)
            return None if item is _OVER else tensors_of(item, "yield")
        finally:
            if self._wants_close:
                self.close()

    def close(self) -> None:
        """See Generation."""
        self._wants_close = True
        if not self._lock.acquire(blocking=False):
            return  # the step that is under way will see to it
        try:
            if self._is_over:
                return
            self._is_over = True
            with self._session.model.excused("the end of a generation"):
                close = getattr(self._iterator, "close", None)
                if close is not None:
                    close()
        finally:
            self._lock.release()
        self._session.end()


class AsyncGeneration:
    """An asynchronous iterator of the handler's; see Generation."""

    def __init__(self, session: LocalSession, iterator: AsyncIterator[object]) -> None:
        session.begin()
        self._session = session
        self._iterator = iterator
        self._lock = asyncio.Lock()
        self._pending: Pending[Tensors | None] | None = None
        self._wants_close = False

    def step(self) -> Pending[Tensors | None]:
        """See Generation."""
        with speaking(self._session.model.voice):
            self._pending = LOOP.run(self._step())
        return self._pending

    async def _step(self) -> Tensors | None:
        async with self._lock:
            try:
                with signed(self._session.model.voice):
                    item = await anext(self._iterator)
            except StopAsyncIteration:
                return None
            return tensors_of(item, "yield")

    def close(self) -> None:
        """See Generation."""
        if self._wants_close:
            return
        self._wants_close = True
        if self._pending is not None:
            self._pending.cancel()
        with speaking(self._session.model.voice):
            LOOP.run(self._close())

    async def _close(self) -> None:
        async with self._lock:
            aclose = getattr(self._iterator, "aclose", None)
            if aclose is not None:
                what = "the end of a generation"
                await self._session.model.excused_later(what, aclose())
        self._session.end()


def _takes_session(execute: Any) -> bool:
    try:
        return "session" in inspect.signature(execute).parameters
    except (TypeError, ValueError):  # not everything that can be called tells
        return False

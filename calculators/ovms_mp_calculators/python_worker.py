"""The worker process of a Python node with `isolation: PROCESS`.

It is a fork of a template that has imported this module. Its main thread does everything
that a handler which is no coroutine does, one thing at a time; so a signal can interrupt
it, as Ctrl-C would, when nobody waits for it any more.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import re
import resource
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from ovms_mp.calculator import metrics
from ovms_mp.core.errors import ServingError, public_text
from ovms_mp.core.pending import Cancelled, Pending
from ovms_mp.isolation import frames, worker
from ovms_mp_calculators import python_handler, python_wire
from ovms_mp_calculators.python_output import Voice

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from ovms_mp.isolation.frames import Frame
    from ovms_mp_calculators.python_local import LocalModel, LocalSession
    from ovms_mp_calculators.python_model import Generation, Tensors

LOOK_UP: Final = signal.SIGUSR1
"""Look at your mail: what you are doing may be in vain."""

_MIB: Final = 1 << 20


class Link:
    """What is said to the server, by any thread."""

    def __init__(self, link: socket.socket) -> None:
        self.socket = link
        self.notes = metrics.Notes()
        self._lock = threading.RLock()

    def say(self, header: dict[str, Any], buffers: list[Any] | None = None) -> None:
        """One frame. A server that is gone ends this process."""
        with self._lock:
            try:
                frames.send(self.socket, header, buffers or [])
            except OSError:
                os._exit(1)

    def say_counts(self) -> None:
        """What has been counted since the last time."""
        notes = self.notes.take()
        if notes is not None:
            self.say({"metrics": notes})

    def log(self, level: int, line: str) -> None:
        """A line for the server's log."""
        self.say({"log": level, "text": line})


class _Log(logging.Handler):
    """Records that a handler, or we about it, make."""

    def __init__(self, voice: Voice) -> None:
        super().__init__()
        self._voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        for line in self.format(record).splitlines():
            self._voice.say(record.levelno, line)


class Interrupted(KeyboardInterrupt):
    """Nobody waits for the call any more: no fault of anybody's."""


class Mail:
    """What the server says, in order; a cancellation also while a handler is at work."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._inbox: deque[Frame] = deque()
        self._working_on: int | None = None
        self._is_reading = False
        self._has_rung = False
        signal.signal(LOOK_UP, self._look_up)

    def next(self) -> Frame:
        """The next frame. Raises EOFError when the server is gone."""
        return self._inbox.popleft() if self._inbox else frames.receive(self._link)

    def begin(self, call: int) -> None:
        """A handler is at work for this call. Raises Interrupted, now or until `end`,
        when the call is cancelled.
        """
        self._working_on = call
        self._read()

    def end(self) -> None:
        """The handler has returned."""
        self._working_on = None

    def _look_up(self, number: int, frame: FrameType | None) -> None:
        if self._is_reading:
            self._has_rung = True
        elif self._working_on is not None:
            self._read()

    def _read(self) -> None:
        is_cancelled = False
        while True:
            self._is_reading, self._has_rung = True, False
            try:
                while frames.is_waiting(self._link):
                    frame = frames.receive(self._link)
                    self._inbox.append(frame)
                    if frame.header == {"call": "cancel", "id": self._working_on}:
                        is_cancelled = True
            finally:
                self._is_reading = False
            if not self._has_rung:
                break
        if is_cancelled:
            raise Interrupted


class Worker:
    """One handler and what is under way with it."""

    def __init__(self, link: Link, mail: Mail, model: LocalModel) -> None:
        self._link = link
        self._mail = mail
        self._model = model
        self._sessions: dict[int, LocalSession] = {}
        self._generations: dict[int, Generation] = {}
        self._pending: dict[int, Pending[Any]] = {}

    def serve(self) -> None:
        """Until the server wants no more."""
        while True:
            try:
                frame = self._mail.next()
            except (EOFError, OSError):
                return
            header = frame.header
            match header["call"]:
                case "execute" | "step":
                    self._work(header["id"], frame)
                case "cancel":
                    pending = self._pending.get(header["id"])
                    if pending is not None:
                        pending.cancel()
                case "close_generation":
                    self._close_generation(header["id"], header["generation"])
                case "close_session":
                    self._close_session(header["id"], header["session"])
                case _:
                    self._model.finalize()
                    self._answer(header["id"], None)
                    return

    def _work(self, call: int, frame: Frame) -> None:
        try:
            try:
                self._mail.begin(call)
                result = self._begun(frame)
            finally:
                self._mail.end()
        except BaseException as error:  # foreign code
            self._fail(call, error)
            return
        if isinstance(result, Pending):
            pending = cast("Pending[Any]", result)
            self._pending[call] = pending
            pending.on_settled(lambda settled: self._settled(call, settled))
        else:
            self._answer(call, result)

    def _begun(self, frame: Frame) -> Any:
        header = frame.header
        if header["call"] == "step":
            return self._generations[header["generation"]].step()
        session = self._sessions.get(header["session"])
        if session is None:
            session = self._model.open(is_serial=True)
            self._sessions[header["session"]] = session
        return session.execute(python_wire.decode(header["tensors"], frame.buffers))

    def _settled(self, call: int, pending: Pending[Any]) -> None:
        self._pending.pop(call, None)
        if pending.error is None:
            self._answer(call, pending.value())
        else:
            self._fail(call, pending.error)

    def _answer(self, call: int, result: Any) -> None:
        self._link.say_counts()
        if result is None:
            self._link.say({"id": call, "end": True})
        elif isinstance(result, list):
            try:
                headers, buffers = python_wire.encode(cast("Tensors", result))
                self._link.say({"id": call, "tensors": headers}, buffers)
            except (TypeError, ValueError, MemoryError) as error:
                self._fail(call, error)
        else:
            self._generations[call] = cast("Generation", result)
            self._link.say({"id": call, "generation": True})

    def _fail(self, call: int, error: BaseException) -> None:
        if not isinstance(error, (Cancelled, Interrupted)):
            _LOG.error("execute failed", exc_info=_of_the_handler(error))
        self._link.say({"id": call, "error": reason(error)})

    def _close_generation(self, call: int, number: int) -> None:
        generation = self._generations.pop(number, None)
        if generation is not None:
            generation.close()
        self._answer(call, None)

    def _close_session(self, call: int, number: int) -> None:
        session = self._sessions.pop(number, None)
        if session is not None:
            session.close()
        self._answer(call, None)


_LOG: Final = logging.getLogger("handler")


_OURS: Final = str(Path(__file__).parent)


def _of_the_handler(
    error: BaseException,
) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    """The exception with the part of its traceback that the handler's author knows."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    return type(error), error, trace


def reason(error: BaseException) -> str:
    """What a client may hear of an exception of a handler's."""
    name = type(error).__name__
    try:
        told = public_text(str(error))
    except BaseException:  # an exception of user code, with a __str__ of its own
        told = ""
    return f"{name}: {told}" if told else name


def _limit_memory(mebibytes: int) -> None:
    """What the process may take beyond what it has now. The limit counts private memory
    alone, which is what a program allocates; not files, nor what it gets to read.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"^VmData:\s+(\d+) kB", status, re.MULTILINE)
    used = int(found[1]) * 1024 if found else 0
    limit = used + mebibytes * _MIB
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _load(link: Link, header: dict[str, Any]) -> LocalModel:
    voice = Voice("handler", link.log)
    logging.root.setLevel(logging.INFO)
    logging.root.addHandler(_Log(voice))
    if header["memory"]:
        _limit_memory(header["memory"])
    with metrics.recording(link.notes):
        return python_handler.load(
            Path(header["path"]), voice, header["label"], header["kwargs"]
        )


def main() -> None:
    """Run as a worker of the server that started this process."""
    faulthandler.enable()
    if (random := sys.modules.get("numpy.random")) is not None:  # as numpy 1 has it
        random.seed()  # forks of one template would all draw the same
    # What threads of the handler's print is not to lie there.
    sys.stdout = os.fdopen(sys.stdout.fileno(), "w", buffering=1, closefd=False)
    link = Link(worker.connect(sys.argv))
    mail = Mail(link.socket)
    try:
        model = _load(link, mail.next().header)
    except ServingError as error:
        link.say({"refused": error.status.name, "details": error.details or ""})
    except BaseException as error:
        link.say({"refused": "", "details": "".join(traceback.format_exception(error))})
    else:
        link.say_counts()
        link.say(
            {
                "loaded": True,
                "is_async": model.is_async,
                "has_sessions": model.has_sessions,
                "tensors": model.tensors,
            }
        )
        Worker(link, mail, model).serve()
    sys.stdout.flush()
    os._exit(0)

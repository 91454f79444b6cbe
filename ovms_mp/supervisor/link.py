"""The worker's end of the channel, for threads."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

from ovms_mp.core.pending import Pending
from ovms_mp.supervisor import channel
from ovms_mp.supervisor.channel import ChannelError, Message

log = logging.getLogger(__name__)


class SupervisorGone(Exception):
    """The supervisor does not answer; the text says why."""


class Link:
    """Thread-safe, but for `first` and `listen`, which come in this order."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)  # what this process starts is no worker
        self._socket = socket.socket(fileno=descriptor)
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._questions: dict[int, Pending[Any]] = {}

    def first(self) -> Message:
        """The first message. Raises ChannelError if there is none."""
        message = channel.receive(self._socket)
        if message is None:
            raise ChannelError("the supervisor is gone")
        return message

    def listen(
        self,
        heard: Callable[[Message], object],
        answer: Callable[[Message], Any],
        gone: Callable[[], object],
    ) -> None:
        """From now on, in threads: `heard` gets what the supervisor says, `answer` what
        it asks, and `gone` is called when it is no more.
        """
        threading.Thread(
            target=self._listen, args=(heard, answer, gone), name="link", daemon=True
        ).start()

    def say(self, what: str, **more: Any) -> None:
        """Tell the supervisor; nothing if it is gone."""
        self._send({"say": what, **more})

    def ask(self, what: str, within: float, **more: Any) -> Any:
        """Its answer; blocks. Raises SupervisorGone, also after so many seconds, and
        where it could not answer.
        """
        number = next(self._numbers)
        pending = self._questions[number] = Pending[Any]()
        try:
            self._send({"ask": what, "id": number, **more})
            return pending.result(within)
        except TimeoutError:
            raise SupervisorGone("the supervisor does not answer") from None
        finally:
            del self._questions[number]

    def _listen(
        self,
        heard: Callable[[Message], object],
        answer: Callable[[Message], Any],
        gone: Callable[[], object],
    ) -> None:
        try:
            while (message := channel.receive(self._socket)) is not None:
                if "say" in message:
                    heard(message)
                elif message.get("ask") == "ping":  # here: it asks if we are alive
                    self._send({"id": message.get("id"), "result": None})
                elif "ask" in message:
                    threading.Thread(
                        target=self._answer, args=(message, answer), daemon=True
                    ).start()
                else:
                    self._answered(message)
        except Exception:
            log.exception("the link to the supervisor is lost")
        finally:
            self._socket.close()
        for pending in tuple(self._questions.values()):
            pending.fail(SupervisorGone("the supervisor is gone"))
        gone()

    def _send(self, message: Message) -> None:
        try:
            with self._lock:
                self._socket.sendall(channel.pack(message))
        except OSError:
            pass  # who reads the other way finds out

    def _answered(self, message: Message) -> None:
        pending = self._questions.get(message.get("id", -1))
        if pending is None:
            return  # it came too late
        if "error" in message:
            pending.fail(SupervisorGone(str(message["error"])))
        else:
            pending.complete(message.get("result"))

    def _answer(self, message: Message, answer: Callable[[Message], Any]) -> None:
        try:
            told: Message = {"result": answer(message)}
        except Exception as error:
            log.exception("the supervisor asked in vain")
            told = {"error": str(error)}
        self._send({"id": message.get("id"), **told})

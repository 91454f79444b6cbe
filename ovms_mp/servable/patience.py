"""A request that comes before what it asks for waits, without a thread, until that is
there, or for so long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest, InferResponse
from ovms_mp.core.pending import Pending
from ovms_mp.servable import leases
from ovms_mp.servable.leases import Lease, Served

Find: TypeAlias = Callable[[InferRequest], "Lease[Served] | None"]
"""What serves a request; None if that is still to come. Raises ServingError."""


class Waiting:
    """Requests that wait. Thread-safe."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._attempts: list[Callable[[], None]] = []

    def infer(
        self, request: InferRequest, patience: float, late: Status
    ) -> Pending[InferResponse]:
        """The answer to a request that is tried at every change, for `patience` seconds;
        fails with `late` when they are over.
        """
        inner: list[Pending[InferResponse]] = []
        answer: Pending[InferResponse] = Pending(
            lambda: [each.cancel() for each in inner]
        )
        timer = threading.Timer(patience, lambda: answer.fail(ServingError(late)))
        timer.daemon = True

        def attempt() -> None:
            if answer.is_settled:
                return
            try:
                lease = self._find(request)
                if lease is None:
                    with self._lock:
                        self._attempts.append(attempt)
                    return
                answered = leases.infer(lease, request)
            except ServingError as error:
                answer.fail(error)
                return
            inner.append(answered)
            answered.on_settled(lambda done: _pass_on(done, answer))

        answer.on_settled(lambda _: timer.cancel())
        timer.start()
        attempt()
        return answer

    def changed(self) -> None:
        """Something may be there now."""
        with self._lock:
            attempts, self._attempts = self._attempts, []
        for attempt in attempts:
            attempt()


def _pass_on(done: Pending[InferResponse], answer: Pending[InferResponse]) -> None:
    if done.error is None:
        answer.complete(done.value())
    else:
        answer.fail(done.error)

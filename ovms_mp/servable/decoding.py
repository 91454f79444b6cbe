"""Requests with pictures are read in other threads than those that take them from the
wire: a picture takes milliseconds.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pending import Pending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ovms_mp.core.strand import Submit
    from ovms_mp.inference.engine import Inferred, TensorData

MAX_DECODING: Final = 256
"""Requests to a version of a model whose pictures wait, or are being decoded."""


class Decoding:
    """Of one version of a model. Thread-safe; nothing blocks, if `submit` does not."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._room = threading.BoundedSemaphore(MAX_DECODING)

    def then(
        self,
        decode: Callable[[], Sequence[TensorData]],
        infer: Callable[[Sequence[TensorData]], Pending[Inferred]],
    ) -> Pending[Inferred]:
        """`infer(decode())`, in another thread. To cancel it leaves out what has not
        begun. Raises ServingError if too many wait already.
        """
        if not self._room.acquire(blocking=False):
            details = f"{MAX_DECODING} requests with pictures wait already"
            raise ServingError(Status.RESOURCE_EXHAUSTED, details)
        inferring: list[Pending[Inferred]] = []
        answer: Pending[Inferred] = Pending(lambda: [p.cancel() for p in inferring])

        def work() -> None:
            try:
                if answer.is_settled:
                    return
                inner = infer(decode())
            except BaseException as error:
                answer.fail(error)
                return
            finally:
                self._room.release()
            inferring.append(inner)
            if answer.is_settled:  # cancelled meanwhile
                inner.cancel()
            inner.on_settled(pass_on)

        def pass_on(inner: Pending[Inferred]) -> None:
            if inner.error is None:
                answer.complete(inner.value())
            else:
                answer.fail(inner.error)

        try:
            self._submit(work)
        except RuntimeError:  # the server stops
            self._room.release()
            raise ServingError(Status.MODEL_VERSION_NOT_LOADED_ANYMORE) from None
        return answer

"""A request that is like one before it in all but its contents is not looked up and
judged again: what was found out then holds until something changes that is served.

Step by step, a request to a tiny model takes 110 us of a busy processor beside its
transport, of which OpenVINO has 17; so it takes 60.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ovms_mp.core.messages import Buffer
    from ovms_mp.core.tensor import Array
    from ovms_mp.inference.engine import CompiledModel, Inferred


class Term:
    """A time in which nothing changes that is served."""

    __slots__ = ("is_over",)

    def __init__(self) -> None:
        self.is_over = False


class Repeat:
    """One request to one version of a model, whose one input comes anew each time, as
    raw contents of the same size. Thread-safe.
    """

    __slots__ = ("_compiled", "_count", "_fail", "_is_watched", "_order")

    def __init__(
        self,
        compiled: CompiledModel,
        order: tuple[int, ...],
        count: Callable[[int, Inferred], object],
        fail: Callable[[int], object],
        is_watched: Callable[[], bool],
    ) -> None:
        """`order` is that of the outputs in a response. `count` is told when a request
        came and what it gave, `fail` when one came whose inference failed. While one
        `is_watched`, nothing is to be had here.
        """
        self._compiled = compiled
        self._count = count
        self._fail = fail
        self._is_watched = is_watched
        is_whole = order == tuple(range(len(compiled.outputs)))
        self._order = None if is_whole else order

    def infer(self, contents: Buffer) -> Sequence[Array] | None:
        """The outputs in the order of the response; None where the inference is not to be had
        within the call: the request goes the usual way then. Raises ServingError when
        the inference fails.
        """
        if self._is_watched():
            return None
        arrived = perf_counter_ns()
        try:
            inferred = self._compiled.infer_at_once([contents])
        except BaseException:
            self._fail(arrived)
            raise
        if inferred is None:
            return None
        self._count(arrived, inferred)
        outputs, order = inferred.outputs, self._order
        return outputs if order is None else [outputs[index] for index in order]

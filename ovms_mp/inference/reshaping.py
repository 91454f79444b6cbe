"""A model that takes what comes is compiled once for each shape that it is asked with.

Who asks with a new one waits until it is compiled, in another thread, one shape after the
other; nobody else waits for that.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

import numpy as np

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pending import Pending
from ovms_mp.core.threads import Threads
from ovms_mp.inference.engine import (
    MAX_QUEUE_LENGTH,
    CompiledModel,
    Inferred,
    Ports,
    TensorData,
)

# Each has the model's weights as the device wants them.
MAX_COMPILED: Final = 8
"""Shapes that a model is compiled for at a time, beside that of its file."""

_log = logging.getLogger(__name__)

Shapes: TypeAlias = "tuple[tuple[int, ...] | None, ...]"
"""Of each input; None where only bytes are given, for there is only one."""


@dataclass(slots=True, eq=False)
class _Variant:
    """The model for some shapes, and how many inferences use it."""

    model: CompiledModel
    users: int = 0


@dataclass(slots=True, eq=False)
class _Wish:
    """An inference that waits for its variant."""

    tensors: Sequence[TensorData]
    is_patient: bool
    inner: Pending[Inferred] | None = None
    result: Pending[Inferred] = field(init=False)

    def __post_init__(self) -> None:
        self.result = Pending(self._cancel)

    def _cancel(self) -> None:
        if self.inner is not None:
            self.inner.cancel()


class ReshapingModel:
    """A CompiledModel (see engine.py). Thread-safe; nothing blocks.

    `base` is the model as its file says; `inputs` are its inputs with what they admit;
    `compile_for` gives it in other shapes, or raises ServingError. Of `most` shapes the
    one that was used least recently makes room, if nobody uses it.
    """

    def __init__(
        self,
        base: CompiledModel,
        inputs: Ports,
        compile_for: Callable[[Shapes], CompiledModel],
        threads: Threads,
        *,
        most: int = MAX_COMPILED,
        max_queue_length: int | None = None,
    ) -> None:
        self.inputs: Final = inputs
        self.outputs: Final = base.outputs
        self.model_info: Final = base.model_info
        self.is_stateful: Final = base.is_stateful
        self.slots: Final = base.slots
        self.streams: Final = base.streams
        self._base = base
        self._compile_for = compile_for
        self._threads = threads
        self._most = most
        self._max_waiting = (
            MAX_QUEUE_LENGTH if max_queue_length is None else max_queue_length
        )
        self._lock = threading.Lock()
        self._known: OrderedDict[Shapes, _Variant] = OrderedDict()
        self._wanted: OrderedDict[Shapes, list[_Wish]] = OrderedDict()
        self._is_compiling = False
        self._is_closed = False

    @property
    def busy(self) -> int:
        """See engine.CompiledModel."""
        return sum(each.busy for each in self._all())

    @property
    def waiting(self) -> int:
        """Inferences that wait for a slot, or for the model to be compiled."""
        with self._lock:
            wishes = sum(map(len, self._wanted.values()))
        return wishes + sum(each.waiting for each in self._all())

    def infer(
        self, tensors: Sequence[TensorData], *, is_patient: bool = False
    ) -> Pending[Inferred]:
        """See engine.CompiledModel. Fails with RESHAPE_ERROR, or for want of memory on
        the device, if the model cannot have these shapes.
        """
        shapes = tuple(
            [each.shape if isinstance(each, np.ndarray) else None for each in tensors]
        )
        if self._is_of_base(shapes):
            return self._base.infer(tensors, is_patient=is_patient)
        wish = _Wish(tensors, is_patient)
        variant = self._find(shapes, wish)
        if variant is not None:
            return self._infer(variant, wish)
        self._go_on()
        return wish.result

    def infer_at_once(self, tensors: Sequence[TensorData]) -> Inferred | None:
        """See engine.CompiledModel: shapes are to be looked at first."""
        return None

    def close(self) -> None:
        """See engine.CompiledModel."""
        with self._lock:
            self._is_closed = True
            models = [self._base, *(each.model for each in self._known.values())]
            self._known.clear()
            wishes = [wish for each in self._wanted.values() for wish in each]
            self._wanted.clear()
        for model in models:
            model.close()
        for wish in wishes:
            wish.result.fail(ServingError(Status.MODEL_VERSION_NOT_LOADED_ANYMORE))

    def _all(self) -> list[CompiledModel]:
        with self._lock:
            return [self._base, *(each.model for each in self._known.values())]

    def _is_of_base(self, shapes: Shapes) -> bool:
        return all(
            shape is None
            or port.shape is None
            or all(map(lambda dim, length: dim.admits(length), port.shape, shape))
            for port, shape in zip(self._base.inputs, shapes, strict=True)
        )

    def _find(self, shapes: Shapes, wish: _Wish) -> _Variant | None:
        with self._lock:
            variant = self._known.get(shapes)
            if variant is None:
                self._keep(shapes, wish)
                return None
            self._known.move_to_end(shapes)
            variant.users += 1
            return variant

    def _keep(self, shapes: Shapes, wish: _Wish) -> None:
        if self._is_closed:
            raise ServingError(Status.MODEL_VERSION_NOT_LOADED_ANYMORE)
        is_full = sum(map(len, self._wanted.values())) >= self._max_waiting
        if is_full and not wish.is_patient:
            raise ServingError(
                Status.RESOURCE_EXHAUSTED,
                f"{self._max_waiting} inferences wait for the model already",
            )
        self._wanted.setdefault(shapes, []).append(wish)

    def _go_on(self) -> None:
        """Compile for the shapes that were wanted first, if there is room."""
        with self._lock:
            for shapes, wishes in list(self._wanted.items()):
                if all(wish.result.is_settled for wish in wishes):  # cancelled
                    del self._wanted[shapes]
            if self._is_compiling or not self._wanted:
                return
            unused = None
            if len(self._known) >= self._most:
                unused = self._unused()
                if unused is None:
                    return  # until somebody leaves
            self._is_compiling = True
            shapes = next(iter(self._wanted))
        if unused is not None:
            unused.close()
        try:
            self._threads.run(partial(self._compile, shapes))
        except RuntimeError:  # the engine ends
            error = ServingError(Status.MODEL_VERSION_NOT_LOADED_ANYMORE)
            self._compiled(shapes, error)

    def _unused(self) -> CompiledModel | None:
        for shapes, variant in self._known.items():
            if not variant.users:
                del self._known[shapes]
                return variant.model
        return None

    def _compile(self, shapes: Shapes) -> None:
        try:
            outcome = self._compile_for(shapes)
        except ServingError as error:
            outcome = error
        except Exception as error:
            _log.exception("to compile a model for shapes %s failed", shapes)
            outcome = ServingError(Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE)
            outcome.__cause__ = error
        self._compiled(shapes, outcome)

    def _compiled(self, shapes: Shapes, outcome: CompiledModel | ServingError) -> None:
        with self._lock:
            self._is_compiling = False
            wishes = self._wanted.pop(shapes, [])
            variant = None
            if not isinstance(outcome, ServingError):
                variant = _Variant(outcome, len(wishes))
                if not self._is_closed:
                    self._known[shapes] = variant
        if self._is_closed and variant is not None:
            variant.model.close()
        for wish in wishes:
            if variant is not None:
                self._begin(wish, variant)
            elif isinstance(outcome, ServingError):
                wish.result.fail(outcome)
        self._go_on()

    def _begin(self, wish: _Wish, variant: _Variant) -> None:
        if wish.result.is_settled:
            self._release(variant)
            return
        try:
            wish.inner = inner = self._infer(variant, wish)
        except ServingError as error:
            wish.result.fail(error)
            return
        if wish.result.is_settled:  # cancelled meanwhile
            inner.cancel()

        def pass_on(inner: Pending[Inferred]) -> None:
            if inner.error is None:
                wish.result.complete(inner.value())
            else:
                wish.result.fail(inner.error)

        inner.on_settled(pass_on)

    def _infer(self, variant: _Variant, wish: _Wish) -> Pending[Inferred]:
        """For a user who is counted already."""
        try:
            pending = variant.model.infer(wish.tensors, is_patient=wish.is_patient)
        except BaseException:
            self._release(variant)
            raise
        pending.on_settled(lambda _: self._release(variant))
        return pending

    def _release(self, variant: _Variant) -> None:
        with self._lock:
            variant.users -= 1
            is_awaited = not variant.users and bool(self._wanted)
        if is_awaited:
            self._go_on()

"""A model with state (ReadValue and Assign) serves many users by turns: what it remembers
is each user's own, put into a slot before an inference and taken out of it afterwards.

Without a state an inference begins anew. OpenVINO keeps what the last one left behind.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from ovms_mp.core.pending import Pending

T = TypeVar("T")


class Variable(Protocol):
    """One of the values that a slot remembers, OpenVINO's VariableState. To set it
    copies what it is given.
    """

    state: Any


class Slot(Protocol):
    """See model.Slot."""

    def infer(self, tensors: Sequence[Any]) -> Any:
        """Block until it is done."""
        ...

    def cancel(self) -> None:
        """Stop it."""
        ...


class State:
    """What a model remembers for one user. Inferences that use it happen one after the
    other, in the order of `in_turn`. Thread-safe.
    """

    __slots__ = ("_is_busy", "_lock", "_turns", "values")

    def __init__(self) -> None:
        self.values: Sequence[Any] | None = None
        """None before the first inference. Only who has the turn looks at it."""
        self._lock = threading.Lock()
        self._turns: deque[_Turn[Any]] = deque()
        self._is_busy = False

    def in_turn(self, infer: Callable[[], Pending[T]]) -> Pending[T]:
        """Call `infer` when the inferences before it are over; it may raise what the
        result is to fail with. To cancel leaves the queue, or stops the inference.
        """
        turn = _Turn(infer)
        with self._lock:
            self._turns.append(turn)
            if self._is_busy:
                return turn.result
            self._is_busy = True
        self._go_on()
        return turn.result

    def _go_on(self) -> None:
        while True:
            with self._lock:
                if not self._turns:
                    self._is_busy = False
                    return
                turn = self._turns.popleft()
            if not turn.begin(self._go_on):
                return


class _Turn(Generic[T]):
    __slots__ = ("_infer", "_inner", "result")

    def __init__(self, infer: Callable[[], Pending[T]]) -> None:
        self.result: Final[Pending[T]] = Pending(self._cancel)
        self._infer = infer
        self._inner: Pending[T] | None = None

    def begin(self, then: Callable[[], object]) -> bool:
        """True if it is over already; else `then` is called when it is."""
        if self.result.is_settled:
            return True
        try:
            inner = self._infer()
        except Exception as error:
            self.result.fail(error)
            return True
        if inner.is_settled:
            self._pass_on(inner)
            return True
        self._inner = inner
        if self.result.is_settled:  # cancelled meanwhile
            inner.cancel()

        def end(inner: Pending[T]) -> None:
            self._pass_on(inner)
            then()

        inner.on_settled(end)
        return False

    def _pass_on(self, inner: Pending[T]) -> None:
        if inner.error is None:
            self.result.complete(inner.value())
        else:
            self.result.fail(inner.error)

    def _cancel(self) -> None:
        inner = self._inner
        if inner is not None:
            inner.cancel()


@dataclass(frozen=True, slots=True)
class Remembering:
    """The inputs of an inference, and the state that it goes on from."""

    tensors: Sequence[Any]
    state: State

    def __iter__(self) -> Iterator[Any]:
        """The inputs, for who looks no further."""
        return iter(self.tensors)


def infer_from(
    state: State | None, tensors: Sequence[Any], infer: Callable[[Any], Pending[T]]
) -> Pending[T]:
    """`infer(tensors)`, going on from `state` in its turn if there is one."""
    if state is None:
        return infer(tensors)
    return state.in_turn(lambda: infer(Remembering(tensors, state)))


class StatefulSlot:
    """A Slot whose inferences begin anew, or where their state says."""

    def __init__(
        self,
        slot: Slot,
        reset: Callable[[], object],
        variables: Sequence[Variable],
    ) -> None:
        self._slot = slot
        self._reset = reset
        self._variables = variables

    def infer(self, tensors: Sequence[Any] | Remembering) -> Any:
        """See model.Slot. A state is as it was before if the inference fails."""
        state = None
        if isinstance(tensors, Remembering):
            state, tensors = tensors.state, tensors.tensors
        values = None if state is None else state.values
        if values is None:
            self._reset()
        else:
            for variable, value in zip(self._variables, values, strict=True):
                variable.state = value
        inferred = self._slot.infer(tensors)
        if state is not None:
            state.values = [_copy(each.state) for each in self._variables]
        return inferred

    def cancel(self) -> None:
        """See model.Slot."""
        self._slot.cancel()


def _copy(tensor: Any) -> Any:
    """A tensor of OpenVINO's with memory of its own, whatever its element type."""
    copied = type(tensor)(tensor.element_type, tensor.shape)
    tensor.copy_to(copied)
    return copied

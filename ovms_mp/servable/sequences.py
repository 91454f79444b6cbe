"""Unary requests reach a state by the name of a sequence, as in Triton: the parameters
`sequence_id`, `sequence_start`, `sequence_end`. Rules and texts are those of OVMS's
stateful models, which it serves over TensorFlow Serving's API only.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pending import Pending
from ovms_mp.inference.state import State
from ovms_mp.servable.description import SequenceLimits

if TYPE_CHECKING:
    from ovms_mp.core.messages import InferRequest, InferResponse
    from ovms_mp.servable.alarms import Alarms

SEQUENCE_ID: Final = "sequence_id"
SEQUENCE_START: Final = "sequence_start"
SEQUENCE_END: Final = "sequence_end"

MAX_SEQUENCES: Final = 500
"""Of a model at a time (OVMS's); `max_sequence_number` changes it."""
IDLE_SECONDS: Final = 300.0
"""A sequence without a request for so long is forgotten (OVMS's five minutes);
`--sequence_cleaner_poll_wait_minutes` changes it."""
# The client chooses it, and it is kept.
MAX_ID_LENGTH: Final = 256

SequenceId: TypeAlias = int | str


class Infer(Protocol):
    """An inference of a model, going on from a state, or from the beginning."""

    def __call__(
        self, request: InferRequest, state: State | None
    ) -> Pending[InferResponse]:
        """Raises ServingError, or fails with it."""
        ...


@dataclass(slots=True)
class _Sequence:
    state: State = field(default_factory=State)
    running: int = 0
    is_terminating: bool = False
    last_used: float = field(default_factory=monotonic)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a request says of sequences."""

    id: SequenceId | None
    starts: bool
    ends: bool


class Sequences:
    """The sequences of one model version. Thread-safe.

    `most` of them at a time; one that is idle for `idle_seconds` is forgotten, None
    forgets none.
    """

    def __init__(
        self,
        infer: Infer,
        alarms: Alarms,
        *,
        most: int = MAX_SEQUENCES,
        idle_seconds: float | None = IDLE_SECONDS,
    ) -> None:
        self.limits: Final = SequenceLimits(most, idle_seconds)
        self._infer = infer
        self._alarms = alarms
        self._most = most
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._known: dict[SequenceId, _Sequence] = {}
        self._next = 1
        self._is_watched = False

    def __len__(self) -> int:
        """Sequences that are remembered."""
        return len(self._known)

    def infer(
        self, request: InferRequest, own: State | None = None
    ) -> Pending[InferResponse]:
        """A request of the sequence that it names, which the answer names, too; of one
        that names none, with the state `own`, or from the beginning. Raises
        ServingError.
        """
        wish = _wish_of(request)
        if wish.id is None and not (wish.starts or wish.ends):
            return self._infer(request, own)
        name, sequence = self._enter(wish)
        try:
            pending = self._infer(request, sequence.state)
        except BaseException:
            self._leave(name, sequence, wish, is_well=False)
            raise
        answer: Pending[InferResponse] = Pending(pending.cancel)

        def pass_on(pending: Pending[InferResponse]) -> None:
            error = pending.error
            self._leave(name, sequence, wish, is_well=error is None)
            if error is not None:
                answer.fail(error)
                return
            response = pending.value()
            parameters = {**response.parameters, SEQUENCE_ID: name}
            answer.complete(response._replace(parameters=parameters))

        pending.on_settled(pass_on)
        return answer

    def _enter(self, wish: _Wish) -> tuple[SequenceId, _Sequence]:
        with self._lock:
            name = wish.id
            if not wish.starts:
                if name is None:
                    raise ServingError(Status.SEQUENCE_ID_NOT_PROVIDED)
                sequence = self._known.get(name)
                if sequence is None or sequence.is_terminating:
                    raise ServingError(Status.SEQUENCE_MISSING)
            else:
                name, sequence = self._started(name)
            sequence.running += 1
            sequence.is_terminating = wish.ends
            return name, sequence

    def _started(self, name: SequenceId | None) -> tuple[SequenceId, _Sequence]:
        if len(self._known) >= self._most:
            raise ServingError(Status.MAX_SEQUENCE_NUMBER_REACHED)
        if name is None:
            while self._next in self._known:
                self._next += 1
            name = self._next
            self._next += 1
        known = self._known.get(name)
        if known is not None:
            is_ending = known.is_terminating
            raise ServingError(
                Status.SEQUENCE_TERMINATED
                if is_ending
                else Status.SEQUENCE_ALREADY_EXISTS
            )
        self._known[name] = sequence = _Sequence()
        self._watch()
        return name, sequence

    def _leave(
        self, name: SequenceId, sequence: _Sequence, wish: _Wish, *, is_well: bool
    ) -> None:
        """A start that failed has started nothing; an end is an end only if it went
        well, so that it can be asked for again.
        """
        with self._lock:
            sequence.running -= 1
            sequence.last_used = monotonic()
            if wish.ends and not is_well:
                sequence.is_terminating = False
            if (wish.ends and is_well) or (wish.starts and not is_well):
                self._known.pop(name, None)

    def _watch(self) -> None:
        if self._idle_seconds is not None and not self._is_watched:
            self._is_watched = True
            self._alarms.after(self._idle_seconds, self._clean)

    def _clean(self) -> None:
        assert self._idle_seconds is not None
        oldest = monotonic() - self._idle_seconds
        with self._lock:
            for name, sequence in list(self._known.items()):
                if not sequence.running and sequence.last_used <= oldest:
                    del self._known[name]
            self._is_watched = False
            if self._known:
                self._watch()


def _wish_of(request: InferRequest) -> _Wish:
    parameters = request.parameters
    name = parameters.get(SEQUENCE_ID)
    if isinstance(name, bool | float):
        details = f"the parameter {SEQUENCE_ID} is an int64, a uint64 or a string"
        raise ServingError(Status.SEQUENCE_ID_BAD_TYPE, details)
    if isinstance(name, str) and len(name) > MAX_ID_LENGTH:
        details = f"the parameter {SEQUENCE_ID} is longer than {MAX_ID_LENGTH}"
        raise ServingError(Status.SEQUENCE_ID_BAD_TYPE, details)
    flags: list[bool] = []
    for flag in (SEQUENCE_START, SEQUENCE_END):
        value = parameters.get(flag, False)
        if not isinstance(value, bool):
            details = f"the parameter {flag} is a bool"
            raise ServingError(Status.INVALID_SEQUENCE_CONTROL_INPUT, details)
        flags.append(value)
    return _Wish(name or None, *flags)

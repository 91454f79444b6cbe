"""What a model infers is told to who watches the call, or the request, that asked for it."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

from ovms_mp.core.happenings import Happening, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ovms_mp.core.happenings import Place
    from ovms_mp.core.pending import Pending
    from ovms_mp.inference.engine import Inferred, TensorData


def tell(here: Place, asked: int, inferred: Inferred, model: str) -> None:
    """Of one inference, for which `model` was asked then (perf_counter_ns)."""
    sink, run, node, timestamp = here
    begun, ended = inferred.begun, inferred.ended
    sink(
        Happening(
            Kind.INFER, run, node, timestamp, begun, ended, since=asked, model=model
        )
    )


def tell_of(
    here: Place, asked: int, pending: Pending[Inferred], model: str
) -> Pending[Inferred]:
    """The same, once it is over; one that fails is nobody's news."""

    def over(pending: Pending[Inferred]) -> None:
        if pending.error is None:
            tell(here, asked, pending.value(), model)

    pending.on_settled(over)
    return pending


def told(
    here: Place,
    model: str,
    infer: Callable[[Sequence[TensorData]], Pending[Inferred]],
) -> Callable[[Sequence[TensorData]], Pending[Inferred]]:
    """`infer`, whose inferences are told, from whichever thread they are asked for."""

    def asked(tensors: Sequence[TensorData]) -> Pending[Inferred]:
        at = perf_counter_ns()
        return tell_of(here, at, infer(tensors), model)

    return asked

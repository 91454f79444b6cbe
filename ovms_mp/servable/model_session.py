"""A model that is served, as the nodes of graphs use it."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cached_property
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from ovms_mp.core.happenings import HERE
from ovms_mp.core.pending import Pending
from ovms_mp.core.threads import returning
from ovms_mp.inference.engine import ByName
from ovms_mp.inference.state import State
from ovms_mp.servable.inferences import tell, tell_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.core.messages import TensorInfo
    from ovms_mp.core.tensor import Array
    from ovms_mp.inference.engine import Inferred
    from ovms_mp.servable.model import ModelServable

_ANYWHERE: Final = nullcontext()


class ModelSession:
    """See calculator.services.RunSessions: the same model, for graphs."""

    def __init__(
        self,
        servable: ModelServable,
        state: State | None = None,
        *,
        is_patient: bool = False,
        is_of_run: bool = False,
    ) -> None:
        self._servable = servable
        self._state = state
        self._is_patient = is_patient
        self._within = returning if is_of_run else _ANYWHERE
        self._ports = servable.compiled.outputs

    def for_run(self, *, is_patient: bool) -> ModelSession:
        """See RunSessions."""
        servable = self._servable
        state = State() if servable.compiled.is_stateful else None
        if state is None and not is_patient:
            return self._for_most_runs
        return ModelSession(servable, state, is_patient=is_patient, is_of_run=True)

    @cached_property
    def _for_most_runs(self) -> ModelSession:
        return ModelSession(self._servable, is_of_run=True)

    @property
    def name(self) -> str:
        """The servable's name."""
        return self._servable.name

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """In the model's order, which is what calculators fall back to."""
        return tuple(port.info for port in self._servable.compiled.inputs)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """In the model's order."""
        return tuple(port.info for port in self._servable.compiled.outputs)

    @property
    def slots(self) -> int:
        """How many inferences may run at a time."""
        return self._servable.compiled.slots

    def infer(self, tensors: Mapping[str, Array]) -> Pending[Mapping[str, Array]]:
        """Names are any that OpenVINO knows a port by, with or without `:0`, both of
        inputs and in the result, which lists the published ones.
        """
        ports, here = self._ports, HERE.get()
        asked = 0 if here is None else perf_counter_ns()
        if self._state is None:
            at_once = self._servable.infer_at_once(tensors)
            if at_once is not None:
                if here is not None:
                    tell(here, asked, at_once, self.name)
                return Pending.completed(ByName(ports, at_once.outputs))
        with self._within:
            inferred = self._servable.infer_for_graph(
                tensors, self._state, is_patient=self._is_patient
            )
        if here is not None:
            tell_of(here, asked, inferred, self.name)
        if inferred.is_settled and inferred.error is None:
            return Pending.completed(ByName(ports, inferred.value().outputs))
        answer: Pending[Mapping[str, Array]] = Pending(inferred.cancel)

        def pass_on(inferred: Pending[Inferred]) -> None:
            if inferred.error is None:
                answer.complete(ByName(ports, inferred.value().outputs))
            else:
                answer.fail(inferred.error)

        inferred.on_settled(pass_on)
        return answer

"""What a server offers to calculators, as protocols: a calculator never imports what
stands behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from ovms_mp.core.messages import TensorInfo
from ovms_mp.core.pending import Pending
from ovms_mp.core.tensor import Array

T = TypeVar("T")


@runtime_checkable
class InferenceSession(Protocol):
    """A loaded model as a graph uses it: the payload of SESSION side packets.

    Thread-safe; shared by all nodes and runs that use the model.
    """

    @property
    def name(self) -> str:
        """The servable's name."""
        ...

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Names, datatypes and shapes (-1: dynamic) that `infer` takes."""
        ...

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Names, datatypes and shapes that `infer` gives."""
        ...

    @property
    def slots(self) -> int:
        """How many inferences may run at a time; more wait their turn."""
        ...

    def infer(self, tensors: Mapping[str, Array]) -> Pending[Mapping[str, Array]]:
        """Infer. Input arrays must not change until the result is there; output arrays
        are the caller's to keep.

        Raises ServingError when names, dtypes or shapes do not fit the model. The
        result fails with ServingError when OpenVINO does.
        """
        ...


@runtime_checkable
class RunSessions(Protocol):
    """A session that is to be asked for another one by each node of each run, because
    its model may have a state, and the run may be patient.
    """

    def for_run(self, *, is_patient: bool) -> InferenceSession:
        """The same model for one node of one run, which waits for what it asks by
        `Context.wait`: an inference may begin when the call that asks has returned, in
        its thread. A model with a state remembers that from one inference to the next;
        these happen one after the other. With `is_patient` an inference waits however
        many wait already: see `Context.is_patient`.
        """
        ...


class Condition(Protocol):
    """Who wants to know whether the nodes of a graph can work: a graph is not called
    ready while one of them can answer nobody.
    """

    def watch(self, node: str, trouble: Callable[[], str]) -> None:
        """`trouble` says why the node can answer nobody now, and is empty while it can.
        It is called at any time, from any thread, and neither blocks nor raises.
        """
        ...

    def changed(self) -> None:
        """What a node says of itself is another thing now. From any thread that holds no
        lock of the node's.
        """
        ...


class Models(Protocol):
    """The models that a graph may name."""

    def session(self, name: str, version: str) -> InferenceSession:
        """The version of a model, `""` for the default one.

        Raises ServingError when there is no such model or it is not available.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServedGraph:
    """What the graph is called, where it has a name."""

    name: str


class Services:
    """Values by their type: what a graph's nodes may ask of their surroundings."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[type[Any], Any] | None = None) -> None:
        self._values = dict(values or {})

    def get(self, service: type[T]) -> T:
        """The value offered for `service`. Raises LookupError if there is none."""
        try:
            return self._values[service]
        except KeyError:
            msg = f"this graph runs without the service {service.__name__}"
            raise LookupError(msg) from None

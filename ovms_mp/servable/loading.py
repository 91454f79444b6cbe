"""A version of a model, or a graph, becomes a servable that has been tried; what becomes
of it is for others to say.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ovms_mp.calculator import services
from ovms_mp.calculator.services import InferenceSession, ServedGraph
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.meters import Recorders
from ovms_mp.library.models import to_load
from ovms_mp.servable.condition import Condition
from ovms_mp.servable.model import ModelServable
from ovms_mp.servable.model_session import ModelSession
from ovms_mp.servable.sequences import IDLE_SECONDS
from ovms_mp.servable.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ovms_mp.core.strand import Submit
    from ovms_mp.inference.engine import CompiledModel, Engine, TensorData
    from ovms_mp.library.hosting import Registry
    from ovms_mp.repository.config import GraphSpec, ModelSpec
    from ovms_mp.servable.catalog import Catalog
    from ovms_mp.servable.graph import GraphServable
    from ovms_mp.servable.leases import Lease
    from ovms_mp.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

# A model that takes longer for its first answers has shown enough.
WARM_UP_SECONDS: Final = 60.0


class Loader:
    """Thread-safe: loads in the thread that calls."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        engine: Engine,
        submit: Submit,
        metrics: Metrics,
        idle_seconds: float | None = IDLE_SECONDS,
        watching: Watching | None = None,
    ) -> None:
        """`idle_seconds` is how long a sequence may be idle, None for ever. `watching`
        knows of all streams.
        """
        self._watching = watching or Watching()
        self._catalog = catalog
        self._engine = engine
        self._submit = submit
        self._metrics = metrics
        self._idle_seconds = idle_seconds

    def version(self, spec: ModelSpec, number: int, directory: Path) -> ModelServable:
        """A version of a model, compiled and warm. Raises ServingError."""
        # Who waits for a start waits for this, too.
        is_served = self._catalog.has_loaded and bool(self._catalog.available())
        compiled = self._engine.load(
            *to_load(spec, directory), warm_up=WARM_UP_SECONDS, beside=is_served
        )
        try:
            servable = ModelServable(
                spec.name,
                number,
                compiled,
                self._metrics,
                spec,
                idle_seconds=self._idle_seconds,
                submit=self._submit,
                watching=self._watching,
            )
        except BaseException:
            compiled.close()
            raise
        if spec.is_stateful and not compiled.is_stateful:
            log.warning(
                "%s is said to be stateful, but has no state: each request of it is by "
                "itself",
                spec.name,
            )
        if spec.dynamic_batching is not None:
            _warm(compiled, spec.dynamic_batching.max_batch_size)
        return servable

    def graph(self, spec: GraphSpec, calculators: Lease[Registry]) -> LoadedGraph:
        """A graph, and what it holds until it is closed: `calculators`, and the models
        that it names. Raises ServingError, and has released them then.
        """
        # A seventh of the start, and many a server has no graphs.
        from ovms_mp.library.graph import Graph
        from ovms_mp.servable.graph import GraphServable
        from ovms_mp.servable.interface import check_boundary

        holdings = Holdings(self._catalog, calculators)
        condition = Condition(self._catalog.changed)
        try:
            graph = Graph.load(
                spec.graph_path,
                models=holdings,
                calculators=calculators.servable,
                services=self._services_of(spec.name, condition),
                base_path=spec.base_path,
                check=check_boundary,
            )
        except BaseException:
            holdings.close()
            raise
        graph.when_closed(holdings.close)
        servable = GraphServable(
            spec.name,
            graph,
            self._submit,
            self._metrics,
            spec.stream,
            condition=condition,
            watching=self._watching,
        )
        return LoadedGraph(servable, holdings)

    def _services_of(self, graph: str, condition: Condition) -> Mapping[type[Any], Any]:
        return {
            ServedGraph: ServedGraph(graph),
            services.Condition: condition,
            Recorders: self._metrics.custom.graph(graph),
        }


class LoadedGraph:
    """A graph, and what it holds."""

    def __init__(self, servable: GraphServable, holdings: Holdings) -> None:
        self.servable: Final = servable
        self.holdings: Final = holdings


class Holdings:
    """The Models service of one graph. A model that the graph was given once is its own
    until it is closed: all its nodes and runs infer with the same one.
    """

    def __init__(self, catalog: Catalog, calculators: Lease[Registry]) -> None:
        self._catalog = catalog
        self._calculators = calculators
        self._lock = threading.Lock()
        self._models: dict[tuple[str, str], Lease[ModelServable]] = {}

    def session(self, name: str, version: str) -> InferenceSession:
        """See Models. A version that is no number means the default one (OVMS)."""
        if not version.isdigit():
            version = ""
        with self._lock:
            lease = self._models.get((name, version))
            if lease is None:
                try:
                    lease = self._catalog.lease_model(name, version)
                except ServingError as error:
                    raise _missing(name, version, error) from error
                self._models[name, version] = lease
        return ModelSession(lease.servable)

    @property
    def is_current(self) -> bool:
        """True if the graph would be given the same models now."""
        with self._lock:
            held = tuple(self._models.items())
        try:
            return all(
                self._catalog.model(*wanted) is lease.servable for wanted, lease in held
            )
        except ServingError:
            return False

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            held = tuple(self._models.values())
        for lease in held:
            lease.release()
        self._calculators.release()


def _missing(name: str, version: str, error: ServingError) -> ServingError:
    wanted = f'model "{name}"' + (f" version {version}" if version else "")
    status = Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR
    return ServingError(status, f"{wanted}: {error.text}")


def _warm(compiled: CompiledModel, rows: int) -> None:
    """Let a model of which up to `rows` rows are joined infer from so many, once each:
    the first inference of a shape pays for what OpenVINO puts off until then. Of only
    one shape the engine has done so. What zeros make of it says nothing of other inputs.
    """
    if all(port.is_static for port in compiled.inputs):
        return
    end = monotonic() + WARM_UP_SECONDS
    # The largest first, and one row: whatever comes of the time, these are used.
    for count in dict.fromkeys((rows, *range(1, rows))):
        zeros = _zeros(compiled, count)
        if zeros is None:
            return
        answer = compiled.infer(zeros)
        try:
            answer.result(max(0.0, end - monotonic()))
        except (ServingError, TimeoutError) as error:
            log.debug("to infer from zeros failed: %s", error)
            answer.cancel()
            return


def _zeros(compiled: CompiledModel, rows: int) -> list[TensorData] | None:
    """None if the shapes are not known. `rows` is the length of the first dimension."""
    zeros: list[TensorData] = []
    for port in compiled.inputs:
        if port.datatype is None or port.shape is None:
            return None
        free = port.shape[1:]
        if not all(dim.is_static for dim in free):
            return None
        shape = [rows, *(dim.minimum for dim in free)]
        zeros.append(np.zeros(shape, port.datatype.dtype))
    return zeros

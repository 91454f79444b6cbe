"""What is served now, by name and version; who asks too early waits a moment, as OVMS
lets them.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.lifecycle import GraphEvent, GraphState, VersionEvent, VersionState
from ovms_mp.core.pending import Pending
from ovms_mp.servable import entries
from ovms_mp.servable.entries import GraphEntry, ModelEntry, VersionEntry
from ovms_mp.servable.siblings import Siblings

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovms_mp.core.messages import InferRequest, InferResponse, ServableMetadata
    from ovms_mp.servable.base import StreamSession, StreamSink
    from ovms_mp.servable.description import Description, Listed
    from ovms_mp.servable.graph import GraphServable
    from ovms_mp.servable.model import ModelServable
    from ovms_mp.telemetry.metrics import Metrics

MODEL_PATIENCE: Final = 10.0
"""Seconds that a request waits for a model version that is being loaded (OVMS's)."""

GRAPH_PATIENCE: Final = 0.5
"""Seconds that a request waits for a graph that is being loaded (OVMS's)."""


class Catalog:
    """Thread-safe. Loading announces names first, so that a client of a servable that
    is about to come is told to wait, not that there is no such thing.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        model_patience: float = MODEL_PATIENCE,
        graph_patience: float = GRAPH_PATIENCE,
        siblings: Siblings | None = None,
    ) -> None:
        self._metrics = metrics
        self._siblings = siblings or Siblings.none()
        self._model_patience = model_patience
        self._graph_patience = graph_patience
        self._lock = threading.Lock()
        self._models: dict[str, ModelEntry] = {}
        self._graphs: dict[str, GraphEntry] = {}
        # What was found since the last change, by name and version as they are asked for.
        self._found: dict[tuple[str, str], ModelServable | GraphServable] = {}
        self._waiting: list[Callable[[], None]] = []
        self._watchers: list[Callable[[], None]] = []
        self._is_loaded = False

    # What loading tells

    def announce_model(self, name: str) -> None:
        """A model of this name will be loaded."""
        with self._lock:
            self._models.setdefault(name, ModelEntry())

    def announce_graph(self, name: str) -> None:
        """A graph of this name will be loaded. Raises ServingError if a model has it."""
        with self._lock:
            if name in self._models:
                raise ServingError(Status.MEDIAPIPE_GRAPH_NAME_OCCUPIED, name)
            self._graphs.setdefault(name, GraphEntry())

    def expects_graph(self, name: str) -> bool:
        """True if a graph of this name was announced and is still to be loaded."""
        with self._lock:
            graph = self._graphs.get(name)
            return graph is not None and graph.state is GraphState.BEGIN

    def model_loading(self, name: str, version: int) -> None:
        """A version is being loaded."""
        with self._lock:
            entry = self._models[name].versions.setdefault(version, VersionEntry())
            entry.on(VersionEvent.LOAD)

    def model_loaded(self, name: str, version: int, servable: ModelServable) -> None:
        """A version is available."""
        with self._lock:
            entry = self._models[name].versions[version]
            entry.servable = servable
            entry.on(VersionEvent.LOADED)
        self._changed()

    def model_failed(self, name: str, version: int, reason: str = "") -> None:
        """A version could not be loaded, for a reason that clients may know."""
        with self._lock:
            entry = self._models[name].versions[version]
            entry.reason = reason
            entry.on(VersionEvent.FAILED)
        self._changed()

    def model_settled(self, name: str) -> None:
        """No more versions of this model are to be expected."""
        with self._lock:
            self._models[name].is_settled = True
        self._changed()

    def graph_loaded(self, name: str, servable: GraphServable) -> None:
        """A graph is available."""
        with self._lock:
            self._graphs[name].servable = servable
            self._graphs[name].on(GraphEvent.VALIDATION_PASSED)
        self._changed()

    def graph_failed(self, name: str, reason: str = "") -> None:
        """A graph could not be loaded, for a reason that clients may know."""
        with self._lock:
            self._graphs[name].reason = reason
            self._graphs[name].on(GraphEvent.VALIDATION_FAILED)
        self._changed()

    def first_load_done(self) -> None:
        """The configuration has been read once to its end: the server is ready, even if
        some of it failed (OVMS).
        """
        self._is_loaded = True
        self._changed()

    def close(self) -> None:
        """Release every servable; when no request uses them any more."""
        with self._lock:
            graphs = [g.servable for g in self._graphs.values() if g.servable]
            models = [
                v.servable
                for m in self._models.values()
                for v in m.versions.values()
                if v.servable
            ]
            self._graphs.clear()
            self._models.clear()
            self._found.clear()
        for servable in (*graphs, *models):
            servable.close()

    # What frontends ask

    @property
    def is_loaded(self) -> bool:
        """True once the first load is done."""
        return self._is_loaded

    @property
    def is_ready(self) -> bool:
        """True once it is loaded here and in all siblings."""
        return self._is_loaded and self._siblings.are_ready

    def available(self) -> dict[str, tuple[str, ...]]:
        """Versions that this process would serve now, by name; "" is a graph's."""
        with self._lock:
            versions = {name: each.available() for name, each in self._models.items()}
            for name, graph in self._graphs.items():
                versions[name] = ("",) if graph.state is GraphState.AVAILABLE else ()
        return {name: each for name, each in versions.items() if each}

    def names(self) -> tuple[str, ...]:
        """Every name that is served, or would be if its loading had not failed."""
        with self._lock:
            return (*self._models, *self._graphs)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` after every change of what is served; it must not block."""
        self._watchers.append(watcher)

    def is_servable_ready(
        self, name: str, version: str, interface: str | None = None
    ) -> bool:
        """True if requests would be served now, here and by siblings; false while it is
        loaded or when that failed. Counted as ModelReady if it came by an `interface`.

        Raises ServingError for a name or version that is not there.
        """
        with self._lock:
            graph = self._graphs.get(name)
            if graph is not None:
                is_ready = graph.state is GraphState.AVAILABLE
            else:
                is_ready = self._is_model_ready(name, version)
        if interface is not None:
            self._metrics.model_request(name, "", interface, "ModelReady", ok=True)
        return is_ready and self._siblings.serve(name, version)

    def _is_model_ready(self, name: str, version: str) -> bool:
        model = self._model(name)
        number = _parse(version)
        if number == 0:
            if model.default() is None and model.is_settled:
                raise ServingError(Status.MODEL_VERSION_MISSING)
            return model.default() is not None
        entry = model.versions.get(number)
        if entry is None:
            raise ServingError(Status.MODEL_VERSION_MISSING)
        return entry.state is VersionState.AVAILABLE

    def metadata(
        self, name: str, version: str, interface: str = "gRPC"
    ) -> ServableMetadata:
        """ModelMetadata. It waits for nothing: raises ServingError when the servable is
        not there or not available.
        """
        with self._lock:
            graph = self._graphs.get(name)
            if graph is not None:
                label, metadata = "", self._graph_servable(graph).metadata()
            else:
                model = self._model(name)
                servable = self._version(model, version)
                label = str(servable.version)
                metadata = replace(servable.metadata(), versions=model.available())
        self._metrics.model_request(name, label, interface, "ModelMetadata", ok=True)
        return metadata

    def describe(self, name: str, version: str) -> Description:
        """How a servable is set up. Waits and raises as `metadata`."""
        with self._lock:
            graph = self._graphs.get(name)
            if graph is not None:
                return self._graph_servable(graph).describe()
            model = self._model(name)
            servable = self._version(model, version)
            return servable.describe().of_versions(model.available())

    def statistics(self, name: str, version: str) -> entries.Statistics:
        """Of a version, a graph, all versions, or everything. Raises as `metadata`."""
        with self._lock:
            if name and name not in self._graphs:
                model = self._model(name)
                version = version and str(self._version(model, version).version)
            return entries.statistics_of(self._models, self._graphs, name, version)

    def index(self) -> tuple[Listed, ...]:
        """Everything that is served, is about to be, or could not be."""
        with self._lock:
            return entries.index_of(self._models, self._graphs)

    def infer(self, request: InferRequest) -> Pending[InferResponse]:
        """ModelInfer on a model or graph. Raises ServingError, or fails with it."""
        servable = self._find(request)
        if servable is not None:
            return servable.infer(request)
        return self._infer_when_loaded(request)

    def open_stream(self, request: InferRequest, sink: StreamSink) -> StreamSession:
        """ModelStreamInfer on a graph or, as OVMS has not, a model. Nobody waits for
        what is being loaded. Raises ServingError.
        """
        with self._lock:
            graph = self._graphs.get(request.model_name)
            model = self._models.get(request.model_name)
            if graph is not None:
                servable = self._graph_servable(graph)
            elif model is not None:
                servable = self._version(model, request.model_version)
            else:
                raise ServingError(Status.MEDIAPIPE_DEFINITION_NAME_MISSING)
        return servable.open_stream(request, sink)

    def model(self, name: str, version: str) -> ModelServable:
        """A model version, for graphs. Raises ServingError."""
        with self._lock:
            return self._version(self._model(name), version)

    def _find(self, request: InferRequest) -> ModelServable | GraphServable | None:
        """What serves a request; None if it is being loaded. Raises ServingError."""
        asked = request.model_name, request.model_version
        found = self._found.get(asked)
        if found is not None:
            return found
        with self._lock:
            graph = self._graphs.get(request.model_name)
            if graph is not None:
                if graph.state is GraphState.BEGIN:
                    return None
                servable = self._graph_servable(graph)
                if not request.model_version:
                    self._found[asked] = servable
                return servable
            model = self._models.get(request.model_name)
            if model is None:
                # OVMS looks among graphs last, so this is the text its clients see.
                raise ServingError(Status.MEDIAPIPE_DEFINITION_NAME_MISSING)
            if entries.is_coming(model, _parse(request.model_version)):
                return None
            servable = self._version(model, request.model_version)
            # Not by each of the ways in which a client may write a number.
            if request.model_version in {"", str(servable.version)}:
                self._found[asked] = servable
            return servable

    def _infer_when_loaded(self, request: InferRequest) -> Pending[InferResponse]:
        """Try again at every change, until patience is over."""
        with self._lock:
            is_graph = request.model_name in self._graphs
        late, patience = Status.MODEL_VERSION_NOT_LOADED_YET, self._model_patience
        if is_graph:
            late = Status.MEDIAPIPE_DEFINITION_NOT_LOADED_YET
            patience = self._graph_patience
        attempts: list[Pending[InferResponse]] = []
        answer: Pending[InferResponse] = Pending(
            lambda: [each.cancel() for each in attempts]
        )
        timer = threading.Timer(patience, lambda: answer.fail(ServingError(late)))
        timer.daemon = True

        def attempt() -> None:
            if answer.is_settled:
                return
            try:
                servable = self._find(request)
                if servable is None:
                    with self._lock:
                        self._waiting.append(attempt)
                    return
                inner = servable.infer(request)
            except ServingError as error:
                answer.fail(error)
                return
            attempts.append(inner)
            inner.on_settled(lambda done: _pass_on(done, answer))

        answer.on_settled(lambda _: timer.cancel())
        timer.start()
        attempt()
        return answer

    def _changed(self) -> None:
        with self._lock:
            self._found.clear()
            waiting, self._waiting = self._waiting, []
        for attempt in waiting:
            attempt()
        for watcher in self._watchers:
            watcher()

    def _model(self, name: str) -> ModelEntry:
        model = self._models.get(name)
        if model is None:
            raise ServingError(Status.MODEL_NAME_MISSING)
        return model

    def _version(self, model: ModelEntry, version: str) -> ModelServable:
        number = _parse(version)
        if number == 0:
            default = model.default()
            if default is None:
                if not model.is_settled or model.versions:
                    raise ServingError(Status.MODEL_VERSION_NOT_LOADED_YET)
                raise ServingError(Status.MODEL_VERSION_MISSING)
            number = default
        entry = model.versions.get(number)
        if entry is None:
            raise ServingError(Status.MODEL_VERSION_MISSING)
        if entry.state in {VersionState.UNLOADING, VersionState.END}:
            raise ServingError(Status.MODEL_VERSION_NOT_LOADED_ANYMORE)
        if entry.servable is None:
            raise ServingError(Status.MODEL_VERSION_NOT_LOADED_YET)
        return entry.servable

    def _graph_servable(self, graph: GraphEntry) -> GraphServable:
        if graph.state is GraphState.RETIRED:
            raise ServingError(Status.MEDIAPIPE_DEFINITION_NOT_LOADED_ANYMORE)
        if graph.servable is None:
            raise ServingError(Status.MEDIAPIPE_DEFINITION_NOT_LOADED_YET)
        return graph.servable


def _parse(version: str) -> int:
    """A version as a request names it: 0 leaves the choice to the server."""
    if not version:
        return 0
    try:
        number = int(version)
    except ValueError:
        raise ServingError(Status.MODEL_VERSION_INVALID_FORMAT) from None
    if not 0 <= number < 2**63:
        raise ServingError(Status.MODEL_VERSION_INVALID_FORMAT)
    return number


def _pass_on(done: Pending[InferResponse], answer: Pending[InferResponse]) -> None:
    if done.error is None:
        answer.complete(done.value())
    else:
        answer.fail(done.error)

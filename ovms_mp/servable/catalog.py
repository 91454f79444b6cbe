"""What is served now, by name and version; who asks too early waits a moment, as OVMS
lets them.

Something that is served is replaced in one step: who asked before has the old one until
he is done, who asks after has the new one.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ovms_mp.core.errors import Status, public_text
from ovms_mp.core.lifecycle import GraphEvent, GraphState, VersionEvent, VersionState
from ovms_mp.servable import leases
from ovms_mp.servable.entries import (
    Entries,
    GraphEntry,
    ModelEntry,
    VersionEntry,
    parse_version,
)
from ovms_mp.servable.found import Found
from ovms_mp.servable.leases import Leased
from ovms_mp.servable.patience import Waiting
from ovms_mp.servable.refusals import Refusals
from ovms_mp.servable.siblings import Siblings

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovms_mp.core.messages import InferRequest, InferResponse, ServableMetadata
    from ovms_mp.core.pending import Pending
    from ovms_mp.servable.base import StreamSession, StreamSink
    from ovms_mp.servable.description import Description, Listed
    from ovms_mp.servable.entries import Statistics
    from ovms_mp.servable.graph import GraphServable
    from ovms_mp.servable.leases import Dispose, Lease, Served
    from ovms_mp.servable.model import ModelServable
    from ovms_mp.servable.repeats import Repeat, Term
    from ovms_mp.servable.status import ServableStatus
    from ovms_mp.telemetry.metrics import Metrics

MODEL_PATIENCE: Final = 10.0
"""Seconds that a request waits for a model version that is being loaded (OVMS's)."""

GRAPH_PATIENCE: Final = 0.5
"""Seconds that a request waits for a graph that is being loaded (OVMS's)."""


class Catalog:
    """Thread-safe. Loading announces names first, so that a client of a servable that
    is about to come is told to wait, not that there is no such thing.

    `is_latching`: once ready, ready for ever, as OVMS. Otherwise `is_ready` tells if
    everything that is to be served is. `dispose` closes what nobody uses any more.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        model_patience: float = MODEL_PATIENCE,
        graph_patience: float = GRAPH_PATIENCE,
        is_latching: bool = False,
        siblings: Siblings | None = None,
        dispose: Dispose = leases.at_once,
    ) -> None:
        self._metrics = metrics
        self._model_patience = model_patience
        self._graph_patience = graph_patience
        self._is_latching = is_latching
        self._siblings = siblings or Siblings.none()
        self._dispose = dispose
        self._lock = threading.Lock()
        self._entries = Entries()
        self.refusals: Final = Refusals()
        self._found = Found()
        self._waiting = Waiting(self._find)
        self._watchers: list[Callable[[], None]] = []
        self.has_loaded = False  # for the first time
        self._is_stopping = False

    # What loading tells

    def announce_model(self, name: str) -> None:
        """A model of this name will be loaded."""
        with self._lock:
            if name in self._entries.graphs and self._entries.graphs[name].is_retired:
                del self._entries.graphs[name]
            model = self._entries.models.setdefault(name, ModelEntry())
            if model.is_retired:
                model.is_retired = model.is_settled = False
        self.changed()

    def announce_graph(self, name: str) -> None:
        """A graph of this name will be loaded."""
        with self._lock:
            if name in self._entries.models and self._entries.models[name].is_retired:
                del self._entries.models[name]
            graph = self._entries.graphs.setdefault(name, GraphEntry())
            if graph.is_retired:
                graph.on(GraphEvent.RELOAD)
        self.changed()

    def model_loading(self, name: str, version: int) -> None:
        """A version is being loaded; beside the one that serves, if there is one."""
        with self._lock:
            entry = self._entries.models[name].versions.setdefault(
                version, VersionEntry()
            )
            if entry.leased is None:
                entry.on(VersionEvent.LOAD)
        self.changed()

    def model_loaded(self, name: str, version: int, servable: ModelServable) -> None:
        """A version is available, from now on in this shape."""
        with self._lock:
            entry = self._entries.models[name].versions[version]
            before, entry.leased = entry.leased, Leased(servable, self._dispose)
            self._found.clear()
            entry.reason = ""
            entry.on(VersionEvent.LOADED)
        if before is not None:
            before.retire()
        self.changed()

    def model_failed(self, name: str, version: int, reason: str = "") -> None:
        """A version could not be loaded; what was served before is served still."""
        with self._lock:
            entry = self._entries.models[name].versions[version]
            entry.reason = public_text(reason)
            if entry.leased is None:
                entry.on(VersionEvent.FAILED)
        self.changed()

    def mended(self, kind: str, name: str, version: int) -> None:
        """What is mounted is what is served again, without a load."""
        with self._lock:
            self._entries.mended(kind, name, version)

    def model_retired(self, name: str, version: int) -> None:
        """A version is not wanted any more."""
        with self._lock:
            leave = self._retire(self._entries.models[name].versions[version])
        leave()
        self.changed()

    def model_settled(self, name: str, reason: str = "") -> None:
        """No more versions of this model are to be expected; `reason` is why there is
        none to look at.
        """
        with self._lock:
            self._entries.models[name].is_settled = True
            self._entries.models[name].reason = public_text(reason)
        self.changed()

    def model_removed(self, name: str) -> None:
        """A model is not wanted any more. The name is free."""
        with self._lock:
            model = self._entries.models[name]
            leaving = [
                self._retire(entry)
                for entry in model.versions.values()
                if entry.state < VersionState.UNLOADING
            ]
            model.retire()
            if name in self._entries.graphs:
                del self._entries.models[name]
        for leave in leaving:
            leave()
        self.changed()

    def graph_loading(self, name: str) -> None:
        """A graph is being loaded; beside the one that serves, if there is one."""
        with self._lock:
            graph = self._entries.graphs[name]
            if graph.state is GraphState.LOADING_PRECONDITION_FAILED:
                graph.on(GraphEvent.RELOAD)
        self.changed()

    def graph_loaded(self, name: str, servable: GraphServable) -> None:
        """A graph is available, from now on in this shape."""
        with self._lock:
            graph = self._entries.graphs[name]
            before, graph.leased = graph.leased, Leased(servable, self._dispose)
            self._found.clear()
            graph.reason = ""
            graph.on(GraphEvent.VALIDATION_PASSED)
        if before is not None:
            before.retire()
        self.changed()

    def graph_failed(self, name: str, reason: str = "") -> None:
        """A graph could not be loaded; what was served before is served still."""
        with self._lock:
            graph = self._entries.graphs[name]
            graph.reason = public_text(reason)
            if graph.leased is None:
                graph.on(GraphEvent.VALIDATION_FAILED)
        self.changed()

    def graph_removed(self, name: str) -> None:
        """A graph is not wanted any more. The name is free."""
        with self._lock:
            graph = self._entries.graphs[name]
            before, graph.leased = graph.leased, None
            self._found.clear()
            graph.on(GraphEvent.RETIRE)
            if name in self._entries.models:
                del self._entries.graphs[name]
        if before is not None:
            before.retire()
        self.changed()

    def first_load_done(self) -> None:
        """The configuration has been read once to its end."""
        self.has_loaded = True
        self.changed()

    def changed(self) -> None:
        """Something of what is told here is another thing now. Under no lock."""
        self._waiting.changed()
        for watcher in self._watchers:
            watcher()

    def stop(self) -> None:
        """From now on the server is not ready, whatever is served."""
        self._is_stopping = True
        self.changed()

    def close(self) -> None:
        """Release every servable; when no request uses them any more."""
        with self._lock:
            leases = self._entries.clear()
            self._found.clear()
        for leased in leases:
            leased.servable.close()

    def _retire(self, entry: VersionEntry) -> Callable[[], None]:
        """What is to be called for it out of the lock."""
        entry.on(VersionEvent.RETIRE)
        leased, entry.leased = entry.leased, None
        self._found.clear()

        def unloaded() -> None:
            with self._lock:
                if entry.state is VersionState.UNLOADING:
                    entry.on(VersionEvent.UNLOADED)

        return lambda: leased.retire(unloaded) if leased else None

    # What frontends ask

    @property
    def is_loaded(self) -> bool:
        """True once the first load is done, if each name that is wanted is served."""
        if not self.has_loaded or self._is_stopping:
            return False
        wanted = {*self.names(), *self.refusals.names}
        is_whole = self.refusals.are_complete and self.available().keys() >= wanted
        return self._is_latching or is_whole

    @property
    def is_ready(self) -> bool:
        """True if it is loaded here and in all siblings."""
        return self.is_loaded and self._siblings.are_ready

    def available(self) -> dict[str, tuple[str, ...]]:
        """Versions that this process would serve now, by name; "" is a graph's."""
        with self._lock:
            return self._entries.available()

    def names(self) -> tuple[str, ...]:
        """Every name that is served, or would be if its loading had not failed."""
        with self._lock:
            return self._entries.names()

    def status(self) -> tuple[ServableStatus, ...]:
        """What is to be told of everything, retired or not."""
        with self._lock:
            return self.refusals.status(self._entries.status())

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` after every change of what is served; it must not block."""
        self._watchers.append(watcher)

    def is_servable_ready(
        self, name: str, version: str, interface: str | None = None
    ) -> bool:
        """True if requests would be served now, here and by siblings. Counted as
        ModelReady if it came by an `interface`. Raises ServingError for a name or version
        that is not there.
        """
        with self._lock:
            graph = self._entries.graph(name)
            if graph is not None:
                is_ready, version = graph.is_ready, ""
            else:
                is_ready = self._entries.model(name).is_ready(parse_version(version))
        if interface is not None:
            self._metrics.model_request(name, "", interface, "ModelReady", ok=True)
        return is_ready and self._siblings.serve(name, version)

    def metadata(
        self, name: str, version: str, interface: str = "gRPC"
    ) -> ServableMetadata:
        """ModelMetadata. It waits for nothing: raises ServingError when the servable is
        not there or not available.
        """
        with self._lock:
            graph = self._entries.graph(name)
            if graph is not None:
                label, metadata = "", graph.find().servable.metadata()
            else:
                model = self._entries.model(name)
                servable = model.find(parse_version(version)).servable
                label = str(servable.version)
                metadata = replace(servable.metadata(), versions=model.available())
        self._metrics.model_request(name, label, interface, "ModelMetadata", ok=True)
        return metadata

    def describe(self, name: str, version: str) -> Description:
        """How a servable is set up. Waits and raises as `metadata`."""
        with self._lock:
            graph = self._entries.graph(name)
            if graph is not None:
                return graph.find().servable.describe()
            model = self._entries.model(name)
            servable = model.find(parse_version(version)).servable
            return servable.describe().of_versions(model.available())

    def statistics(self, name: str, version: str) -> Statistics:
        """Of a version, a graph, all versions, or everything. Raises as `metadata`."""
        with self._lock:
            return self._entries.statistics(name, version)

    def index(self) -> tuple[Listed, ...]:
        """Everything that is served, is about to be, or could not be."""
        with self._lock:
            return self.refusals.listed(self._entries.index())

    def infer(self, request: InferRequest) -> Pending[InferResponse]:
        """ModelInfer on a model or graph. Raises ServingError, or fails with it."""
        lease = self._find(request)
        if lease is not None:
            return leases.infer(lease, request)
        with self._lock:
            is_graph = self._entries.graph(request.model_name) is not None
        if is_graph:
            late = Status.MEDIAPIPE_DEFINITION_NOT_LOADED_YET
            return self._waiting.infer(request, self._graph_patience, late)
        late = Status.MODEL_VERSION_NOT_LOADED_YET
        return self._waiting.infer(request, self._model_patience, late)

    def open_stream(self, request: InferRequest, sink: StreamSink) -> StreamSession:
        """ModelStreamInfer on a graph or, as OVMS has not, a model. Nobody waits for
        what is being loaded. Raises ServingError.
        """
        lease = self._find(request, waits=False)
        assert lease is not None
        return leases.open_stream(lease, request, sink)

    def repeat(self, request: InferRequest) -> tuple[Term, Repeat] | None:
        """See Servable; for as long as the term lasts."""
        with self._lock:
            found = self._found.get((request.model_name, request.model_version))
            repeat = found and found.servable.repeat(request)
            return repeat and (self._found.term, repeat)

    def model(self, name: str, version: str) -> ModelServable:
        """A model version, to look at. Raises ServingError."""
        with self._lock:
            return self._entries.model(name).find(parse_version(version)).servable

    def lease_model(self, name: str, version: str) -> Lease[ModelServable]:
        """A model version, to use for as long as one likes. Raises ServingError."""
        with self._lock:
            lease = self._entries.model(name).find(parse_version(version)).lease()
        assert lease is not None  # what is found is not retired
        return lease

    def _find(
        self, request: InferRequest, *, waits: bool = True
    ) -> Lease[Served] | None:
        """What serves a request; None if it `waits` and that is being loaded. Raises
        ServingError.
        """
        asked = request.model_name, request.model_version
        found = self._found.get(asked)
        lease = found and found.lease()
        if lease is not None:
            return lease
        with self._lock:
            leased = self._entries.find(*asked, waits=waits)
            if leased is None:
                return None
            self._found.keep(asked, leased)
            return leased.lease()

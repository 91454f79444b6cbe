"""What the catalog knows of a name: the states that its versions went through, what serves
it, and why the newest files of it do not.

Not thread-safe: the catalog's lock is around everything here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.core.lifecycle import (
    GRAPH_TRANSITIONS,
    VERSION_TRANSITIONS,
    GraphEvent,
    GraphState,
    VersionEvent,
    VersionState,
)
from ovms_mp.servable.description import VERSION, Listed, State
from ovms_mp.servable.status import ServableStatus, VersionStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.servable.graph import GraphServable
    from ovms_mp.servable.leases import Leased, Served
    from ovms_mp.servable.model import ModelServable
    from ovms_mp.servable.statistics import ModelStatistics

Statistics: TypeAlias = "Mapping[tuple[str, str], ModelStatistics]"
"""By name and version."""

_LISTED: Final[Mapping[VersionState, State]] = {
    VersionState.START: State.LOADING,
    VersionState.LOADING: State.LOADING,
    VersionState.AVAILABLE: State.READY,
    VersionState.UNLOADING: State.UNLOADING,
    VersionState.END: State.UNAVAILABLE,
}
_GRAPH_STATES: Final[Mapping[GraphState, VersionState]] = {
    GraphState.BEGIN: VersionState.LOADING,
    GraphState.RELOADING: VersionState.LOADING,
    GraphState.LOADING_PRECONDITION_FAILED: VersionState.LOADING,
    GraphState.AVAILABLE: VersionState.AVAILABLE,
    GraphState.RETIRED: VersionState.END,
}


@dataclass(slots=True)
class VersionEntry:
    """A version of a model. `reason` is why its newest files are not served."""

    state: VersionState = VersionState.START
    has_failed: bool = False
    leased: Leased[ModelServable] | None = None
    reason: str = ""

    def on(self, event: VersionEvent) -> None:
        """What happened."""
        self.state = VERSION_TRANSITIONS[self.state, event]
        self.has_failed = event is VersionEvent.FAILED
        if event is VersionEvent.RETIRE:
            self.reason = ""

    def listed(self, name: str, version: int) -> Listed:
        """A load that failed is none that goes on."""
        state = State.UNAVAILABLE if self.has_failed else _LISTED[self.state]
        return Listed(name, str(version), state, public_text(self.reason))

    def status(self, number: int) -> VersionStatus:
        """What to tell of it."""
        error = "UNKNOWN" if self.has_failed else "OK"
        return VersionStatus(number, self.state, error, self.reason)


@dataclass(slots=True)
class ModelEntry:
    """A model by its name."""

    versions: dict[int, VersionEntry] = field(default_factory=dict[int, VersionEntry])
    is_settled: bool = False
    """True once it is known which versions there are and how their loading went."""
    is_retired: bool = False
    reason: str = ""
    """Why there are no versions to look at."""

    def retire(self) -> None:
        """Nobody wants it any more."""
        self.is_settled = self.is_retired = True
        self.reason = ""

    def available(self) -> tuple[str, ...]:
        """The versions that are served, ascending."""
        available = VersionState.AVAILABLE
        numbers = [n for n, each in self.versions.items() if each.state is available]
        return tuple(str(number) for number in sorted(numbers))

    def default(self) -> int | None:
        """The highest version that is served."""
        available = self.available()
        return int(available[-1]) if available else None

    def is_ready(self, number: int) -> bool:
        """True if a version is served; 0 is any. Raises ServingError."""
        if number == 0:
            if self.default() is None and self.is_settled:
                raise ServingError(Status.MODEL_VERSION_MISSING)
            return self.default() is not None
        entry = self.versions.get(number)
        if entry is None:
            raise ServingError(Status.MODEL_VERSION_MISSING)
        return entry.state is VersionState.AVAILABLE

    def is_coming(self, number: int) -> bool:
        """True if a version may become available without anyone doing anything more; 0
        is any.
        """
        if number == 0:
            return self.default() is None and not self.is_settled
        entry = self.versions.get(number)
        if entry is None:
            return not self.is_settled
        return entry.state is VersionState.LOADING and not entry.has_failed

    def find(self, number: int) -> Leased[ModelServable]:
        """What serves a version; 0 is the default one. Raises ServingError."""
        if number == 0:
            default = self.default()
            if default is None:
                if not self.is_settled or self.has_hope():
                    raise ServingError(Status.MODEL_VERSION_NOT_LOADED_YET)
                raise ServingError(Status.MODEL_VERSION_MISSING)
            number = default
        entry = self.versions.get(number)
        if entry is None:
            raise ServingError(Status.MODEL_VERSION_MISSING)
        if entry.state in {VersionState.UNLOADING, VersionState.END}:
            raise ServingError(Status.MODEL_VERSION_NOT_LOADED_ANYMORE)
        if entry.leased is None:
            raise ServingError(Status.MODEL_VERSION_NOT_LOADED_YET)
        return entry.leased

    def has_hope(self) -> bool:
        """True if there is a version that is not retired."""
        return any(
            each.state < VersionState.UNLOADING for each in self.versions.values()
        )

    def statistics(self, name: str) -> Statistics:
        """Of the versions that are served."""
        return {
            (name, str(number)): each.leased.servable.statistics()
            for number, each in sorted(self.versions.items())
            if each.leased is not None
        }

    def listed(self, name: str) -> list[Listed]:
        """Its versions, ascending; without any, what becomes of it."""
        if self.versions:
            return [
                each.listed(name, number)
                for number, each in sorted(self.versions.items())
            ]
        if self.is_settled:
            reason = self.reason or "there is no version that can be served"
            return [Listed(name, "", State.UNAVAILABLE, public_text(reason))]
        return [Listed(name, "", State.LOADING)]

    def status(self, name: str) -> ServableStatus:
        """What to tell of it."""
        versions = sorted(self.versions.items())
        return ServableStatus(
            name,
            "model",
            tuple(each.status(number) for number, each in versions),
            self.reason,
        )


@dataclass(slots=True)
class GraphEntry:
    """A graph by its name."""

    state: GraphState = GraphState.BEGIN
    leased: Leased[GraphServable] | None = None
    reason: str = ""

    def on(self, event: GraphEvent) -> None:
        """What happened."""
        self.state = GRAPH_TRANSITIONS[self.state, event]

    @property
    def is_retired(self) -> bool:
        """True if it was removed."""
        return self.state is GraphState.RETIRED

    @property
    def is_coming(self) -> bool:
        """True if it may become available without anyone doing anything more."""
        return self.state in {GraphState.BEGIN, GraphState.RELOADING}

    @property
    def trouble(self) -> str:
        """Why what is loaded can answer nobody now; empty if it can."""
        return "" if self.leased is None else self.leased.servable.trouble

    @property
    def is_ready(self) -> bool:
        """True if requests would be served now."""
        return self.leased is not None and not self.trouble

    def find(self) -> Leased[GraphServable]:
        """What serves it. Raises ServingError."""
        if self.state is GraphState.RETIRED:
            raise ServingError(Status.MEDIAPIPE_DEFINITION_NOT_LOADED_ANYMORE)
        if self.leased is None:
            raise ServingError(Status.MEDIAPIPE_DEFINITION_NOT_LOADED_YET)
        return self.leased

    def statistics(self, name: str) -> Statistics:
        """Of the graph, if it is served."""
        known = self.leased
        return {} if known is None else {(name, VERSION): known.servable.statistics()}

    def listed(self, name: str) -> Listed:
        """With the version that graphs say they have."""
        trouble = self.trouble
        has_failed = self.state is GraphState.LOADING_PRECONDITION_FAILED
        listed = _LISTED[_GRAPH_STATES[self.state]]
        state = State.UNAVAILABLE if has_failed or trouble else listed
        return Listed(name, VERSION, state, public_text(trouble or self.reason))

    def status(self, name: str) -> ServableStatus:
        """What to tell of it: as of a model with one version. One that can answer nobody
        is told as one that failed to load: OVMS has no other word.
        """
        failed = GraphState.LOADING_PRECONDITION_FAILED
        trouble = self.trouble
        state = failed if trouble else self.state
        error = "FAILED_PRECONDITION" if state is failed else "OK"
        reason = trouble or self.reason
        version = VersionStatus(1, _GRAPH_STATES[state], error, reason)
        return ServableStatus(name, "graph", (version,))


@dataclass(slots=True)
class Entries:
    """All names. One that changes its kind is a model's and a graph's for a while: it is
    the graph's as soon as that can be served, and for as long.
    """

    models: dict[str, ModelEntry] = field(default_factory=dict[str, ModelEntry])
    graphs: dict[str, GraphEntry] = field(default_factory=dict[str, GraphEntry])

    def graph(self, name: str) -> GraphEntry | None:
        """The graph of a name, if it is a graph's."""
        graph = self.graphs.get(name)
        if graph is not None and graph.leased is None and name in self.models:
            return None
        return graph

    def model(self, name: str) -> ModelEntry:
        """The model of a name. Raises ServingError."""
        model = self.models.get(name)
        if model is None:
            raise ServingError(Status.MODEL_NAME_MISSING)
        return model

    def find(self, name: str, version: str, *, waits: bool) -> Leased[Served] | None:
        """What serves requests; None for who `waits` for what is being loaded. Raises
        ServingError.
        """
        graph = self.graph(name)
        if graph is not None:
            return None if waits and graph.is_coming else graph.find()
        model = self.models.get(name)
        if model is None:
            # OVMS looks among graphs last, so this is the text its clients see.
            raise ServingError(Status.MEDIAPIPE_DEFINITION_NAME_MISSING)
        number = parse_version(version)
        return None if waits and model.is_coming(number) else model.find(number)

    def clear(self) -> list[Leased[Served]]:
        """Forget everything. What was served is to be closed."""
        models = [v.leased for m in self.models.values() for v in m.versions.values()]
        graphs = [graph.leased for graph in self.graphs.values()]
        self.models.clear()
        self.graphs.clear()
        return [leased for leased in (*graphs, *models) if leased is not None]

    def mended(self, kind: str, name: str, version: int) -> None:
        """The newest files are served again."""
        if kind == "graph":
            self.graphs[name].reason = ""
        elif version in (versions := self.models[name].versions):
            versions[version].reason = ""

    def available(self) -> dict[str, tuple[str, ...]]:
        """Versions that are served, by name; "" is a graph's."""
        versions = {name: each.available() for name, each in self.models.items()}
        versions |= {name: ("",) for name, g in self.graphs.items() if g.is_ready}
        return {name: each for name, each in versions.items() if each}

    def names(self) -> tuple[str, ...]:
        """All that are not retired."""
        graphs = [name for name, each in self.graphs.items() if not each.is_retired]
        models = [name for name, each in self.models.items() if not each.is_retired]
        return tuple(dict.fromkeys((*models, *graphs)))

    def status(self) -> tuple[ServableStatus, ...]:
        """What to tell of all, retired or not."""
        graphs = [graph.status(name) for name, graph in self.graphs.items()]
        return (*(model.status(name) for name, model in self.models.items()), *graphs)

    def statistics(self, name: str, version: str) -> Statistics:
        """Of a graph, or of a version or all of a model; of everything if `name` is
        empty. Raises ServingError.
        """
        graph = self.graph(name)
        if graph is not None:
            return graph.statistics(name)
        if name:
            model = self.model(name)
            found = model.statistics(name)
            if not version:
                return found
            number = str(model.find(parse_version(version)).servable.version)
            return {(name, number): found[name, number]}
        every: dict[tuple[str, str], ModelStatistics] = {}
        for each, entry in (*self.models.items(), *self.graphs.items()):
            every.update(entry.statistics(each))
        return {
            key: value
            for key, value in every.items()
            if not version or key[1] == version
        }

    def index(self) -> tuple[Listed, ...]:
        """The same in Triton's terms."""
        models = [entry.listed(name) for name, entry in self.models.items()]
        graphs = [entry.listed(name) for name, entry in self.graphs.items()]
        return (*(each for listed in models for each in listed), *graphs)


def parse_version(version: str) -> int:
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

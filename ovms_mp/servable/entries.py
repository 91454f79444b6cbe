"""What the catalog keeps of each name: where it is in its life, and what serves it. The
catalog's lock is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from ovms_mp.core.lifecycle import (
    GRAPH_TRANSITIONS,
    VERSION_TRANSITIONS,
    GraphEvent,
    GraphState,
    VersionEvent,
    VersionState,
)
from ovms_mp.servable.description import Listed, State
from ovms_mp.servable.interface import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.servable.graph import GraphServable
    from ovms_mp.servable.model import ModelServable
    from ovms_mp.servable.statistics import ModelStatistics

Statistics: TypeAlias = "Mapping[tuple[str, str], ModelStatistics]"
"""By name and version."""

_VERSION_STATES: Final[Mapping[VersionState, State]] = {
    VersionState.START: State.LOADING,
    VersionState.LOADING: State.LOADING,
    VersionState.AVAILABLE: State.READY,
    VersionState.UNLOADING: State.UNLOADING,
    VersionState.END: State.UNAVAILABLE,
}
_GRAPH_STATES: Final[Mapping[GraphState, State]] = {
    GraphState.BEGIN: State.LOADING,
    GraphState.LOADING_PRECONDITION_FAILED: State.UNAVAILABLE,
    GraphState.AVAILABLE: State.READY,
    GraphState.RETIRED: State.UNAVAILABLE,
}


@dataclass(slots=True)
class VersionEntry:
    """A version of a model. `reason` is why its loading failed."""

    state: VersionState = VersionState.START
    has_failed: bool = False
    reason: str = ""
    servable: ModelServable | None = None

    def on(self, event: VersionEvent) -> None:
        """Raises KeyError for what cannot happen to it now."""
        self.state = VERSION_TRANSITIONS[self.state, event]
        self.has_failed = event is VersionEvent.FAILED

    def listed(self, name: str, version: int) -> Listed:
        """A load that failed is none that goes on."""
        if self.has_failed:
            return Listed(name, str(version), State.UNAVAILABLE, self.reason)
        return Listed(name, str(version), _VERSION_STATES[self.state])


@dataclass(slots=True)
class ModelEntry:
    """A model, by its versions."""

    versions: dict[int, VersionEntry] = field(default_factory=dict[int, VersionEntry])
    is_settled: bool = False
    """True once it is known which versions there are and how their loading went."""

    def available(self) -> tuple[str, ...]:
        """The versions that are served, ascending."""
        available = VersionState.AVAILABLE
        numbers = [n for n, each in self.versions.items() if each.state is available]
        return tuple(str(number) for number in sorted(numbers))

    def default(self) -> int | None:
        """The highest version that is served."""
        available = self.available()
        return int(available[-1]) if available else None

    def statistics(self, name: str) -> Statistics:
        """Of the versions that are served."""
        return {
            (name, str(number)): each.servable.statistics()
            for number, each in sorted(self.versions.items())
            if each.servable is not None
        }

    def listed(self, name: str) -> list[Listed]:
        """Its versions, ascending; without any, what becomes of it."""
        if self.versions:
            return [
                e.listed(name, version) for version, e in sorted(self.versions.items())
            ]
        if self.is_settled:
            reason = "there is no version that can be served"
            return [Listed(name, "", State.UNAVAILABLE, reason)]
        return [Listed(name, "", State.LOADING)]


@dataclass(slots=True)
class GraphEntry:
    """A graph. `reason` is why its loading failed."""

    state: GraphState = GraphState.BEGIN
    reason: str = ""
    servable: GraphServable | None = None

    def on(self, event: GraphEvent) -> None:
        """Raises KeyError for what cannot happen to it now."""
        self.state = GRAPH_TRANSITIONS[self.state, event]

    def statistics(self, name: str) -> Statistics:
        """Of the graph, if it is served."""
        known = self.servable
        return {} if known is None else {(name, VERSION): known.statistics()}

    def listed(self, name: str) -> Listed:
        """With the version that graphs say they have."""
        return Listed(name, VERSION, _GRAPH_STATES[self.state], self.reason)


def index_of(
    models: Mapping[str, ModelEntry], graphs: Mapping[str, GraphEntry]
) -> tuple[Listed, ...]:
    """All of them, models first."""
    listed = [each for name, entry in models.items() for each in entry.listed(name)]
    return (*listed, *(entry.listed(name) for name, entry in graphs.items()))


def statistics_of(
    models: Mapping[str, ModelEntry],
    graphs: Mapping[str, GraphEntry],
    name: str,
    version: str,
) -> Statistics:
    """Of a graph, or of a version or all of a model; of everything if `name` is empty."""
    found: dict[tuple[str, str], ModelStatistics] = {}
    for each, entry in (*models.items(), *graphs.items()):
        if name in {"", each}:
            found.update(entry.statistics(each))
    if name in graphs or not version:
        return found
    return {key: value for key, value in found.items() if key[1] == version}


def is_coming(model: ModelEntry, number: int) -> bool:
    """True if a version may become available without anyone doing anything more."""
    if number == 0:
        return model.default() is None and not model.is_settled
    entry = model.versions.get(number)
    if entry is None:
        return not model.is_settled
    return entry.state is VersionState.LOADING and not entry.has_failed

"""The life of a model version and of a graph definition, as tables.

What serves stays AVAILABLE while its next reading is loaded beside it, and if that fails.

States of versions have the numbers that TensorFlow Serving and OVMS put on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum, auto
from typing import Final, TypeAlias


class VersionState(IntEnum):
    """A model version. LOADING is also where a load that failed stays (as in OVMS)."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class VersionEvent(Enum):
    """What happens to a model version."""

    LOAD = auto()
    LOADED = auto()
    FAILED = auto()
    RETIRE = auto()
    UNLOADED = auto()


VERSION_TRANSITIONS: Final[Mapping[tuple[VersionState, VersionEvent], VersionState]] = {
    (VersionState.START, VersionEvent.LOAD): VersionState.LOADING,
    (VersionState.START, VersionEvent.RETIRE): VersionState.END,
    (VersionState.LOADING, VersionEvent.LOAD): VersionState.LOADING,
    (VersionState.LOADING, VersionEvent.LOADED): VersionState.AVAILABLE,
    (VersionState.LOADING, VersionEvent.FAILED): VersionState.LOADING,
    (VersionState.LOADING, VersionEvent.RETIRE): VersionState.END,
    (VersionState.AVAILABLE, VersionEvent.LOADED): VersionState.AVAILABLE,
    (VersionState.AVAILABLE, VersionEvent.RETIRE): VersionState.UNLOADING,
    (VersionState.UNLOADING, VersionEvent.UNLOADED): VersionState.END,
    (VersionState.UNLOADING, VersionEvent.LOAD): VersionState.LOADING,
    (VersionState.END, VersionEvent.LOAD): VersionState.LOADING,
}


class GraphState(Enum):
    """A graph definition, in OVMS's words. RELOADING is one that serves nothing yet."""

    BEGIN = auto()
    RELOADING = auto()
    LOADING_PRECONDITION_FAILED = auto()
    AVAILABLE = auto()
    RETIRED = auto()


class GraphEvent(Enum):
    """What happens to a graph definition."""

    RELOAD = auto()
    VALIDATION_PASSED = auto()
    VALIDATION_FAILED = auto()
    RETIRE = auto()


_G: TypeAlias = GraphState

GRAPH_TRANSITIONS: Final[Mapping[tuple[GraphState, GraphEvent], GraphState]] = {
    (_G.BEGIN, GraphEvent.VALIDATION_PASSED): _G.AVAILABLE,
    (_G.BEGIN, GraphEvent.VALIDATION_FAILED): _G.LOADING_PRECONDITION_FAILED,
    (_G.BEGIN, GraphEvent.RETIRE): _G.RETIRED,
    (_G.RELOADING, GraphEvent.VALIDATION_PASSED): _G.AVAILABLE,
    (_G.RELOADING, GraphEvent.VALIDATION_FAILED): _G.LOADING_PRECONDITION_FAILED,
    (_G.LOADING_PRECONDITION_FAILED, GraphEvent.RELOAD): _G.RELOADING,
    (_G.LOADING_PRECONDITION_FAILED, GraphEvent.RETIRE): _G.RETIRED,
    (_G.AVAILABLE, GraphEvent.VALIDATION_PASSED): _G.AVAILABLE,
    (_G.AVAILABLE, GraphEvent.RETIRE): _G.RETIRED,
    (_G.RETIRED, GraphEvent.RELOAD): _G.RELOADING,
}

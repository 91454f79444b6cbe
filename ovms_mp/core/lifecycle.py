"""The life of a model version and of a graph definition, as tables.

States of versions have the numbers that TensorFlow Serving and OVMS put on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum, auto
from typing import Final


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
    (VersionState.LOADING, VersionEvent.LOADED): VersionState.AVAILABLE,
    (VersionState.LOADING, VersionEvent.FAILED): VersionState.LOADING,
    (VersionState.LOADING, VersionEvent.RETIRE): VersionState.END,
    (VersionState.AVAILABLE, VersionEvent.RETIRE): VersionState.UNLOADING,
    (VersionState.UNLOADING, VersionEvent.UNLOADED): VersionState.END,
}


class GraphState(Enum):
    """A graph definition, in OVMS's words."""

    BEGIN = auto()
    LOADING_PRECONDITION_FAILED = auto()
    AVAILABLE = auto()
    RETIRED = auto()


class GraphEvent(Enum):
    """What happens to a graph definition."""

    VALIDATION_PASSED = auto()
    VALIDATION_FAILED = auto()
    RETIRE = auto()


GRAPH_TRANSITIONS: Final[Mapping[tuple[GraphState, GraphEvent], GraphState]] = {
    (GraphState.BEGIN, GraphEvent.VALIDATION_PASSED): GraphState.AVAILABLE,
    (
        GraphState.BEGIN,
        GraphEvent.VALIDATION_FAILED,
    ): GraphState.LOADING_PRECONDITION_FAILED,
    (GraphState.BEGIN, GraphEvent.RETIRE): GraphState.RETIRED,
    (GraphState.LOADING_PRECONDITION_FAILED, GraphEvent.RETIRE): GraphState.RETIRED,
    (GraphState.AVAILABLE, GraphEvent.RETIRE): GraphState.RETIRED,
}

"""What is set up to be served, and what of it is: for those who ask before they send."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.core.messages import ServableMetadata
    from ovms_mp.repository.config import DynamicBatching
    from ovms_mp.repository.versions import VersionPolicy
    from ovms_mp.servable.portrait import Portrait

VERSION: Final = "1"
"""Graphs have no versions; this is what OVMS says on the wire."""


@dataclass(frozen=True, slots=True)
class SequenceLimits:
    """How many sequences there may be at a time, and how long one may be idle; None for
    as long as it likes.
    """

    most: int
    idle_seconds: float | None


@dataclass(frozen=True, slots=True)
class Description:
    """How one model version or one graph is set up.

    `slots` is how many inferences of it may run at a time, 0 where nothing limits it,
    and `device` where they run, empty for a graph, which has no device of its own. A
    servable that `is_decoupled` may answer a request of a stream with any number of
    responses. `batching` is how a model's requests are joined, `sequences` how many
    there may be of a model with a state. `parameters` are the remaining settings, by
    name. A graph has a `portrait`.
    """

    metadata: ServableMetadata
    backend: str
    version_policy: VersionPolicy | None = None
    device: str = ""
    slots: int = 0
    is_decoupled: bool = False
    batching: DynamicBatching | None = None
    sequences: SequenceLimits | None = None
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    portrait: Portrait | None = None

    def of_versions(self, versions: tuple[str, ...]) -> Description:
        """The same, among these versions."""
        return replace(self, metadata=replace(self.metadata, versions=versions))


class State(Enum):
    """What clients can expect of a servable, in Triton's words."""

    READY = "READY"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Listed:
    """A version of a model, or a graph, as it is now. `version` is empty for a model
    that has none, `reason` says why one is unavailable, or why its newest files are.
    """

    name: str
    version: str
    state: State
    reason: str = ""

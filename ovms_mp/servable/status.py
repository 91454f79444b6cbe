"""What became of each servable, for people and programs that look after a server: states
as OVMS tells them at `/v1/config`, and beyond that why something is not as its files say.

Reasons are for operators and may name paths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovms_mp.core.errors import Status
    from ovms_mp.core.lifecycle import VersionState


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """`error_code` is OVMS's: OK, UNKNOWN for a model that cannot be loaded,
    FAILED_PRECONDITION for a graph. `reason` says why the newest files are not served,
    also where older ones still are; empty if they are.
    """

    version: int
    state: VersionState
    error_code: str
    reason: str


@dataclass(frozen=True, slots=True)
class ServableStatus:
    """A model or a graph (`kind`), a graph with the one version 1. `reason` is one of the
    whole model's: there is no version to look at.
    """

    name: str
    kind: str
    versions: tuple[VersionStatus, ...]
    reason: str = ""


class Outcome(Enum):
    """What a reload did with a servable."""

    UNCHANGED = "unchanged"
    SKIPPED = "skipped"  # another definition of the name counts
    LOADED = "loaded"
    RELOADED = "reloaded"
    FAILED = "failed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a version of a model, of a graph (version 1), or, where there is
    nothing to load, of a name (version 0). `reason` is why it failed, or was skipped:
    what was served before is served still.
    """

    name: str
    kind: str
    version: int
    outcome: Outcome
    reason: str = ""

    def skipped(self) -> Change:
        """The same of what never counts."""
        return replace(self, outcome=Outcome.SKIPPED)


@dataclass(frozen=True, slots=True)
class Report:
    """What a reload did. `error` is why the configuration could not be read, `status` of
    what kind that is; then the one before goes on to count.
    """

    changes: tuple[Change, ...] = ()
    error: str = ""
    status: Status | None = None

    @property
    def is_ok(self) -> bool:
        """True if everything is served as it is written."""
        failed = any(each.outcome is Outcome.FAILED for each in self.changes)
        return not (self.error or failed)

    @property
    def has_changed(self) -> bool:
        """True if something else is served than before."""
        nothing = {Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.FAILED}
        return any(each.outcome not in nothing for each in self.changes)

"""What a configuration asks for and cannot have is told of each name that it concerns; of
all that is served, if the configuration itself cannot be read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from ovms_mp.core.errors import public_text
from ovms_mp.core.lifecycle import VersionState
from ovms_mp.servable.description import Listed, State
from ovms_mp.servable.status import ServableStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class _Refused(NamedTuple):
    by_name: Mapping[str, str]
    whole: str
    are_complete: bool

    def reason(self, name: str) -> str:
        return self.by_name.get(name, self.whole)


class Refusals:
    """Reasons beside those that entries have themselves. Thread-safe."""

    def __init__(self) -> None:
        self._now = _Refused({}, "", are_complete=True)

    @property
    def names(self) -> Iterable[str]:
        """Those that the configuration asks for and cannot have as it says."""
        return self._now.by_name.keys()

    @property
    def are_complete(self) -> bool:
        """False if there may be more names that are asked for: they are where it could
        not be read, now or ever.
        """
        return self._now.are_complete

    def become(
        self, by_name: Mapping[str, str], whole: str, *, are_complete: bool
    ) -> None:
        """Reasons by names, and the one of everything, empty if there is none."""
        self._now = _Refused(dict(by_name), whole, are_complete)

    def listed(self, known: Iterable[Listed]) -> tuple[Listed, ...]:
        """Who is retired is not concerned, but for a name that is wanted again."""
        now = self._now
        listed = [
            each
            if each.reason or each.state is State.UNAVAILABLE
            else replace(each, reason=public_text(now.reason(each.name)))
            for each in known
        ]
        told = {each.name for each in listed if each.reason}
        listed += [
            Listed(name, "", State.UNAVAILABLE, public_text(reason))
            for name, reason in now.by_name.items()
            if name not in told
        ]
        return tuple(listed)

    def status(self, known: Iterable[ServableStatus]) -> tuple[ServableStatus, ...]:
        """The same, of whole servables."""
        now = self._now
        statuses = [_with(each, now.reason(each.name)) for each in known]
        names = {each.name for each in statuses}
        statuses += [
            ServableStatus(name, "model", (), reason)
            for name, reason in now.by_name.items()
            if name not in names
        ]
        return tuple(statuses)


def _with(status: ServableStatus, reason: str) -> ServableStatus:
    is_wanted = any(each.state not in _RETIRED for each in status.versions)
    if status.reason or not (is_wanted or not status.versions):
        return status
    return replace(status, reason=reason)


_RETIRED: Final = {VersionState.UNLOADING, VersionState.END}

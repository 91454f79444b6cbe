"""Processes that serve the same ports are one server to clients, who do not choose which
one they get: what one says of readiness has to hold for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence


class Siblings:
    """The processes that serve beside this one, as far as it has been told. Thread-safe;
    nobody is ready until `tell` says so.
    """

    def __init__(self) -> None:
        self._are_ready = False
        self._servables: Mapping[str, Sequence[str]] | None = None
        self._watchers: list[Callable[[], object]] = []

    @classmethod
    def none(cls) -> Siblings:
        """A server of one process: nobody is there to be waited for."""
        alone = cls()
        alone._are_ready = True
        return alone

    @property
    def are_ready(self) -> bool:
        """True if none is missing and each is ready."""
        return self._are_ready

    def serve(self, name: str, version: str) -> bool:
        """True if each that serves has this version ready; an empty one, or 0, is any,
        which need not be the same in each.
        """
        servables = self._servables
        if servables is None:
            return True  # nobody serves yet
        if version in {"", "0"}:
            return name in servables
        return version in servables.get(name, ())

    def tell(self, *, are_ready: bool, servables: Mapping[str, Sequence[str]]) -> None:
        """What holds from now on: the names that all have ready, and of each the versions
        that all have.
        """
        self._servables = servables
        self._are_ready = are_ready
        for watcher in tuple(self._watchers):
            watcher()

    def watch(self, watcher: Callable[[], object]) -> None:
        """Call `watcher` after each `tell`; it must not block."""
        self._watchers.append(watcher)

"""The calculators that graphs are loaded with: those that are installed, and those of a
folder as it was when somebody last looked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ovms_mp.calculator.base import ContractError
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.servable.leases import Leased

if TYPE_CHECKING:
    from ovms_mp.library.hosting import Registry
    from ovms_mp.repository.files import Digests
    from ovms_mp.repository.snapshot import Fingerprint, Part
    from ovms_mp.servable.leases import Lease


class Calculators:
    """One registry after the other; each is there until the last graph that was loaded
    with it is closed. `make` raises ContractError or OSError for a folder that cannot
    be used at all.
    """

    def __init__(self, make: Callable[[], Registry]) -> None:
        self._make = make
        self._registry = Leased(make())
        self._fingerprint: Fingerprint | None = None
        self.number = 0
        """Of the registry: another one has another number."""

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong in the folder, by the names of files or calculators; graphs that
        need none of these do not mind.
        """
        return self._registry.servable.problems

    def lease(self) -> Lease[Registry]:
        """The registry that graphs are to be loaded with."""
        lease = self._registry.lease()
        assert lease is not None  # only those before it are retired
        return lease

    def become(self, folder: Part, digests: Digests) -> None:
        """Take up what is in the folder now. Raises ServingError, and stays with what
        was in it before.
        """
        fingerprint = folder.fingerprint(digests)
        before, self._fingerprint = self._fingerprint, fingerprint
        if before is None or before == fingerprint:
            return
        try:
            registry = self._make()
        except (ContractError, OSError) as error:
            self._fingerprint = before
            status = Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR
            raise ServingError(status, str(error)) from error
        old, self._registry = self._registry, Leased(registry)
        self.number += 1
        old.retire()

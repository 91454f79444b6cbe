"""The calculators that graphs are loaded with: those that are installed, and those of a
folder as it was when somebody last looked.
"""

from __future__ import annotations

import threading
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
    with it is closed. The first is made when it is needed: many a server has no graphs.
    `make` raises ContractError or OSError for a folder that cannot be used at all.
    Thread-safe, but `become` is for one thread at a time.
    """

    def __init__(self, make: Callable[[], Registry]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._registry: Leased[Registry] | None = None
        self._fingerprint: Fingerprint | None = None
        self.number = 0
        """Of the registry: another one has another number."""

    def registry(self) -> Leased[Registry]:
        """The latest. The first is made now, if nobody has asked for it before; raises
        what `make` does.
        """
        with self._lock:
            if self._registry is None:
                self._registry = Leased(self._make())
            return self._registry

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong in the folder, by the names of files or calculators; graphs that
        need none of these do not mind.
        """
        return self.registry().servable.problems

    def lease(self) -> Lease[Registry]:
        """The registry that graphs are to be loaded with. Raises ServingError if it has
        to be made and cannot.
        """
        try:
            lease = self.registry().lease()
        except (ContractError, OSError) as error:
            status = Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR
            raise ServingError(status, str(error)) from error
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
        old, self._registry = self.registry(), Leased(registry)
        self.number += 1
        old.retire()

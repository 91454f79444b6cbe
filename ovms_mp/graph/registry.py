"""Calculator names and their classes; a class is judged when it enters, by the same
rules wherever it comes from.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

from ovms_mp.calculator.base import Calculator, Contract, ContractError
from ovms_mp.graph.folder import Folder
from ovms_mp.graph.policies import POLICIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from google.protobuf.message import Message

log = logging.getLogger(__name__)

ENTRY_POINTS: Final = "ovms_mp.calculators"
"""The entry-point group of installed calculators; the names are those of pbtxt."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A calculator with its contract; `origin` says who brought it, for messages."""

    calculator: type[Calculator]
    contract: Contract
    origin: str


class Registry:
    """Name to class. Filled before graphs are loaded; read from any thread."""

    def __init__(self) -> None:
        self._known: dict[str, Registered] = {}
        self._entry_points: dict[str, EntryPoint] = {}
        self._wrong: dict[str, ContractError] = {}
        self._failed: dict[str, str] = {}
        self._folders: list[Folder] = []

    @classmethod
    def installed(cls) -> Registry:
        """All calculators of installed distributions. Each is imported on first use, so
        that one whose dependencies are missing disturbs only graphs that name it; so
        does a name that two distributions bring, which is in the log.
        """
        registry = cls()
        for entry in entry_points(group=ENTRY_POINTS):
            other = registry._entry_points.setdefault(entry.name, entry)
            if other.value != entry.value:
                msg = (
                    f"calculator '{entry.name}' comes from {_origin(other)} "
                    f"and from {_origin(entry)}"
                )
                log.error("%s", msg)
                registry._wrong[entry.name] = ContractError(msg)
        return registry

    def add(self, name: str, calculator: type[Calculator], origin: str) -> None:
        """Raises ContractError, naming both origins, when the name is taken."""
        taken_by = self._origin_of(name)
        if taken_by is not None:
            msg = f"calculator '{name}' comes from {taken_by} and from {origin}"
            raise ContractError(msg)
        self._known[name] = _judged(name, calculator, origin)

    def add_folder(self, path: Path) -> None:
        """Load the modules of a folder, as `Folder` says, and add their calculators. What
        is wrong with one of them is in the log, and disturbs only graphs that name it.

        Raises ContractError, naming both origins, when a name is taken.
        """
        folder = Folder(path)
        self._folders.append(folder)
        for found in folder.load():
            taken_by = self._origin_of(found.name)
            if taken_by is not None:
                msg = (
                    f"calculator '{found.name}' comes from {taken_by} "
                    f"and from {found.origin}"
                )
                raise ContractError(msg)
            try:
                self._known[found.name] = _judged(*found)
            except ContractError as error:
                log.error("%s", error)
                self._wrong[found.name] = error
        self._failed |= folder.failed

    @property
    def problems(self) -> Mapping[str, str]:
        """What cannot be used, by the names of calculators and of files in folders."""
        return self._failed | {name: str(error) for name, error in self._wrong.items()}

    def close(self) -> None:
        """Forget the modules of folders; when no graph uses their calculators."""
        for folder in self._folders:
            folder.close()

    def _origin_of(self, name: str) -> str | None:
        if name in self._known:
            return self._known[name].origin
        entry = self._entry_points.get(name)
        return None if entry is None else _origin(entry)

    def find(self, name: str) -> Registered | None:
        """The calculator called `name`, or None.

        Raises ContractError when it cannot be imported or its contract is wrong.
        """
        known = self._known.get(name)
        if name in self._wrong:
            raise self._wrong[name]
        if known is None and name in self._entry_points:
            entry = self._entry_points[name]
            origin = _origin(entry)
            try:
                loaded = entry.load()
            except (Exception, SystemExit) as error:
                msg = f"calculator '{name}' from {origin} cannot be imported: {error}"
                raise ContractError(msg) from error
            known = self._known[name] = _judged(name, loaded, origin)
        return known

    def missing(self, name: str) -> str:
        """What to say of a name that `find` does not know."""
        said = f'there is no calculator named "{name}"'
        if self._failed:
            files = ", ".join(self._failed)
            said += f"; of the calculators path, {files} failed to import"
        return said

    def options(self, name: str) -> type[Message] | None:
        """The message class of a calculator's options; None if it has none, and for
        what `find` does not give. Of whatever descriptor pool the calculator takes.
        """
        try:
            known = self.find(name)
        except ContractError:
            return None
        if known is None or known.contract.options is None:
            return None
        return known.contract.options.message

    def names(self) -> Iterable[str]:
        """All names, sorted."""
        return sorted({*self._known, *self._wrong, *self._entry_points})


def _judged(name: str, calculator: object, origin: str) -> Registered:
    if not (isinstance(calculator, type) and issubclass(calculator, Calculator)):
        msg = f"calculator '{name}' from {origin} is not a subclass of Calculator"
        raise ContractError(msg)
    try:
        contract = Contract.of(calculator)
        if calculator.input_policy not in POLICIES:
            policy = calculator.input_policy
            raise ContractError(f"input_policy {policy!r} is no input stream handler")
    except ContractError as error:
        msg = f"calculator '{name}' from {origin}: {error}"
        raise ContractError(msg) from error
    return Registered(calculator, contract, origin)


def _origin(entry: EntryPoint) -> str:
    if entry.dist is None:
        return f"'{entry.value}'"
    return f"distribution '{entry.dist.name} {entry.dist.version}'"

"""Calculator names and their classes; a class is judged when it enters, by the same
rules wherever it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

from ovms_mp.calculator.base import Calculator, Contract, ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    @classmethod
    def installed(cls) -> Registry:
        """All calculators of installed distributions. Each is imported on first use, so
        that one whose dependencies are missing disturbs only graphs that name it.

        Raises ContractError when two distributions bring the same name.
        """
        registry = cls()
        for entry in entry_points(group=ENTRY_POINTS):
            other = registry._entry_points.setdefault(entry.name, entry)
            if other.value != entry.value:
                msg = (
                    f"calculator '{entry.name}' comes from {_origin(other)} "
                    f"and from {_origin(entry)}"
                )
                raise ContractError(msg)
        return registry

    def add(self, name: str, calculator: type[Calculator], origin: str) -> None:
        """Raises ContractError, naming both origins, when the name is taken."""
        taken = self._known.get(name)
        taken_by = taken.origin if taken else None
        if taken_by is None and name in self._entry_points:
            taken_by = _origin(self._entry_points[name])
        if taken_by is not None:
            msg = f"calculator '{name}' comes from {taken_by} and from {origin}"
            raise ContractError(msg)
        self._known[name] = _judged(name, calculator, origin)

    def find(self, name: str) -> Registered | None:
        """The calculator called `name`, or None.

        Raises ContractError when it cannot be imported or its contract is wrong.
        """
        known = self._known.get(name)
        if known is None and name in self._entry_points:
            entry = self._entry_points[name]
            origin = _origin(entry)
            try:
                loaded = entry.load()
            except Exception as error:
                msg = f"calculator '{name}' from {origin} cannot be imported: {error}"
                raise ContractError(msg) from error
            known = self._known[name] = _judged(name, loaded, origin)
        return known

    def names(self) -> Iterable[str]:
        """All names, sorted."""
        return sorted({*self._known, *self._entry_points})


def _judged(name: str, calculator: object, origin: str) -> Registered:
    if not (isinstance(calculator, type) and issubclass(calculator, Calculator)):
        msg = f"calculator '{name}' from {origin} is not a subclass of Calculator"
        raise ContractError(msg)
    try:
        contract = Contract.of(calculator)
    except ContractError as error:
        msg = f"calculator '{name}' from {origin}: {error}"
        raise ContractError(msg) from error
    return Registered(calculator, contract, origin)


def _origin(entry: EntryPoint) -> str:
    if entry.dist is None:
        return f"'{entry.value}'"
    return f"distribution '{entry.dist.name} {entry.dist.version}'"

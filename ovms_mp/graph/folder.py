"""The modules of a folder, imported as a package of their own: what is in the folder
hides no installed module, and no other folder's.

Nothing is put on `sys.path`. Modules of the folder import each other as those of any
package do, `from . import scales`; all else is imported as anywhere.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import logging
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from ovms_mp.calculator.base import Calculator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

log = logging.getLogger(__name__)

_INIT: Final = "__init__.py"
_NUMBERS: Final = itertools.count()


class Found(NamedTuple):
    """A calculator of a folder, not judged yet; `origin` names its file."""

    name: str
    calculator: object
    origin: str


class Folder:
    """One folder, loaded once; the folder as it is later is another Folder.

    Its modules are its `*.py` files and its packages, but those whose names begin with
    `_` or `.`. A module's calculators are `calculators`, a mapping of names to classes,
    where it has one; else all subclasses of Calculator that are written in it and have
    a name without an underscore in front, under these names. An `__init__.py` is
    imported first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()  # modules tell their files so
        self._package = f"_calculators_path_{next(_NUMBERS)}"
        self.failed: dict[str, str] = {}
        """Why files could not be imported, by their names; the log has more of it."""

    def load(self) -> Iterator[Found]:
        """Import everything, in the order of names. Raises OSError if the folder cannot
        be read.
        """
        files = sorted(self._path.iterdir())
        init = self._path / _INIT
        if init in files:
            spec = importlib.util.spec_from_file_location(
                self._package, init, submodule_search_locations=[str(self._path)]
            )
        else:
            spec = ModuleSpec(self._package, None, is_package=True)
            spec.submodule_search_locations = [str(self._path)]
        if spec is None or not self._import_package(spec):
            return
        if init in files:
            yield from self._calculators(sys.modules[self._package], _INIT)
        for file in files:
            if not file.name.startswith(("_", ".")) and _is_module(file):
                yield from self._of(file)

    def close(self) -> None:
        """Forget the modules; when nobody uses the calculators any more."""
        for name in tuple(sys.modules):
            if name == self._package or name.startswith(f"{self._package}."):
                del sys.modules[name]

    def _import_package(self, spec: ModuleSpec) -> bool:
        package = importlib.util.module_from_spec(spec)
        sys.modules[self._package] = package
        try:
            if spec.loader is not None:
                spec.loader.exec_module(package)
        except (Exception, SystemExit) as error:
            del sys.modules[self._package]
            self._fail(self._path / _INIT, error)
            return False
        return True

    def _of(self, file: Path) -> Iterator[Found]:
        shown = file.name if file.is_file() else f"{file.name}/{_INIT}"
        stem = file.stem if file.is_file() else file.name
        try:
            module = importlib.import_module(f"{self._package}.{stem}")
            if (
                is_hidden := _origin(module) not in {file, file / _INIT}
            ) or "." in stem:
                why = "is hidden by another" if is_hidden else "has a dot in its name"
                raise ImportError(f"{shown} {why}")
            found = list(self._calculators(module, shown))
        except (Exception, SystemExit) as error:
            self._fail(file, error)
            return
        yield from found

    def _calculators(self, module: ModuleType, file: str) -> Iterator[Found]:
        """Raises TypeError if `calculators` is no mapping of names."""
        given: object = vars(module).get("calculators")
        if given is None:
            given = {
                name: each
                for name, each in vars(module).items()
                if not name.startswith("_") and _is_of(module, name, each)
            }
        elif not _is_mapping_of_names(given):
            raise TypeError("calculators should be a mapping of names to classes")
        mapping = cast("Mapping[str, object]", given)
        for name, calculator in mapping.items():
            yield Found(name, calculator, f"'{file}' of the calculators path")

    def _fail(self, file: Path, error: BaseException) -> None:
        said = "%s of the calculators path cannot be imported"
        log.error(said, file, exc_info=error)
        name = file.name if file.is_file() else f"{file.name}/{_INIT}"
        self.failed[name] = f"cannot be imported: {type(error).__name__}: {error}"


def _is_module(file: Path) -> bool:
    return file.suffix == ".py" if file.is_file() else (file / _INIT).is_file()


def _origin(module: ModuleType) -> Path | None:
    return None if module.__file__ is None else Path(module.__file__)


def _is_of(module: ModuleType, name: str, each: object) -> bool:
    """True for a calculator that is written in the module, or in the package it is."""
    if not (isinstance(each, type) and issubclass(each, Calculator)):
        return False
    home = module.__name__
    is_within = each.__module__ == home or each.__module__.startswith(f"{home}.")
    return is_within and each.__name__ == name


def _is_mapping_of_names(given: Any) -> bool:
    return isinstance(given, dict) and all(
        isinstance(name, str) for name in cast("dict[object, object]", given)
    )

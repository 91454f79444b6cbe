"""A pbtxt becomes a definition: for the server and for programs by the same steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ovms_mp.calculator.base import Calculator, ContractError
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.graph import builder, config, islands, pbtxt
from ovms_mp.graph.registry import Registry
from ovms_mp.graph.subgraphs import Folders
from ovms_mp.library import fitting
from ovms_mp.native import offer as native

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovms_mp.calculator.services import Services
    from ovms_mp.graph.config import GraphConfig
    from ovms_mp.graph.definition import GraphDefinition

Calculators: TypeAlias = "Mapping[str, type[Calculator]] | Path | str | Registry"
"""Calculators besides the installed ones: classes by the names that a pbtxt gives
them, or a folder of modules. A registry has all that there are."""


def define(
    path: Path,
    registry: Registry,
    services: Services,
    *,
    text: str | None = None,
    base_path: Path | None = None,
    check: Callable[[GraphConfig], object] | None = None,
) -> GraphDefinition:
    """Read a pbtxt file, or a `text` that would be at `path`. Subgraphs are looked for
    beside it. `base_path` is the folder that nodes' files are in, otherwise the file's;
    `check` may refuse what the pbtxt says. What nodes share is not loaded.

    Raises ServingError: GraphConfigError with file and line for what is wrong in the
    pbtxt.
    """
    formed = _formed(path, registry, text, check)
    return builder.define(formed, registry, base_path or path.parent, services)


def load(
    path: Path,
    registry: Registry,
    services: Services,
    *,
    text: str | None = None,
    base_path: Path | None = None,
    check: Callable[[GraphConfig], object] | None = None,
) -> GraphDefinition:
    """The same, and load what its nodes share. Raises ServingError of other statuses for
    what its calculators refuse to load, and GraphConfigError for tensors that can never
    fit the nodes that they lead to.
    """
    formed = _formed(path, registry, text, check)
    definition = builder.load(formed, registry, base_path or path.parent, services)
    try:
        fitting.check(definition)
    except BaseException:
        definition.unload()
        raise
    return definition


def _formed(
    path: Path,
    registry: Registry,
    text: str | None,
    check: Callable[[GraphConfig], object] | None,
) -> GraphConfig:
    subgraphs = Folders.beside(path)
    parsed = config.parse(
        pbtxt.contents(path) if text is None else text.encode(),
        path.name,
        options=islands.options_of(registry, native, subgraphs),
        subgraphs=subgraphs,
    )
    if check is not None:
        check(parsed)
    return islands.form_islands(parsed, registry, native)


def registry_of(calculators: Calculators | None) -> Registry:
    """The installed calculators and these. Raises ServingError."""
    if isinstance(calculators, Registry):
        return calculators
    try:
        registry = Registry.installed()
        if isinstance(calculators, str | Path):
            registry.add_folder(Path(calculators))
        elif calculators is not None:
            for name, calculator in calculators.items():
                registry.add(name, calculator, "the caller")
    except ContractError as error:
        status = Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR
        raise ServingError(status, str(error)) from error
    return registry

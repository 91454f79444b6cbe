"""Where the files of a model version lie: `<base path>/<version>/<model file>`.

Details of errors name paths: they are for the operator who mounted them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository import document

if TYPE_CHECKING:
    from pathlib import Path

    from ovms_mp.repository.document import Node

# OVMS: a positive number without leading zeros; other names are somebody else's. The
# number fits in the wire's int64.
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)

SYNTHETIC_VERSION: Final = 1
"""The version of a model file that lies in no version directory."""

MAPPING_FILE: Final = "mapping_config.json"

# Formats, and the second file of those that have two; in OVMS's order of search.
_FORMATS: Final = {
    ".xml": ".bin",
    ".onnx": None,
    ".pdmodel": ".pdiparams",
    ".pb": None,
    ".tflite": None,
}
_SAVED_MODEL: Final = "saved_model.pb"


def is_model_name(file: Path) -> bool:
    """True for a path that ends as a model's file does."""
    return file.suffix in _FORMATS


def versions(base_path: Path) -> dict[int, Path]:
    """Every version of the model at `base_path`, ascending, with its directory; a model
    file is its own version 1.

    Raises ServingError: PATH_INVALID if there is nothing to read at `base_path`,
    NO_MODEL_VERSION_AVAILABLE if no directory in it has a version's name.
    """
    if is_file(base_path):
        return {SYNTHETIC_VERSION: base_path}
    found = {
        version: entry
        for entry in _entries(base_path)
        if (version := version_of(entry.name)) is not None and entry.is_dir()
    }
    if not found:
        raise ServingError(Status.NO_MODEL_VERSION_AVAILABLE, str(base_path))
    return dict(sorted(found.items()))


def version_of(name: str) -> int | None:
    """The version that a directory of that name has; None if it is something else."""
    return int(name) if _VERSION.fullmatch(name) else None


def model_file(version_path: Path) -> Path:
    """What OpenVINO is to read for a version: a file, or the directory of a TensorFlow
    SavedModel. `version_path` is a version's directory or a model file itself.

    Raises ServingError: FILE_INVALID if no file of a known format is complete here
    (details then name the file that another is missing to, if there is one),
    PATH_INVALID if the directory cannot be read.
    """
    if is_file(version_path):
        files = [version_path]
        directory = version_path.parent
    else:
        # By name: the order of a directory is nobody's choice.
        files = sorted(_entries(version_path))
        directory = version_path
    for suffix, companion in _FORMATS.items():
        for file in files:
            if file.suffix == suffix and _is_complete(file, companion):
                return directory if file.name == _SAVED_MODEL else file
    for file in files:
        if (companion := _FORMATS.get(file.suffix)) and is_file(file):
            other = file.with_suffix(companion).name
            details = f"{file}: there is no {other} beside it"
            raise ServingError(Status.FILE_INVALID, details)
    known = ", ".join(f"{s} with {c}" if c else s for s, c in _FORMATS.items())
    details = f"{version_path}: expected a model file ({known})"
    raise ServingError(Status.FILE_INVALID, details)


def name_mapping(version_path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Public names of inputs, and of outputs, by those in the model file: what a
    version's mapping_config.json says, or nothing.

    Raises ServingError: JSON_INVALID if it says something else, or one name for two.
    """
    folder = version_path.parent if is_file(version_path) else version_path
    file = folder / MAPPING_FILE
    if not is_file(file):
        return {}, {}
    sections = document.read(file).members(("inputs", "outputs"))
    inputs, outputs = (
        _names(sections[name]) if name in sections else {}
        for name in ("inputs", "outputs")
    )
    return inputs, outputs


def companions(file: Path) -> tuple[Path, ...]:
    """A model file that lies in no version directory, and what may belong to it: files
    beside it whose names begin as its own does, up to the suffix.
    """
    beside = (
        entry
        for entry in _entries(file.parent)
        if entry.name.startswith(f"{file.stem}.") or entry.name == MAPPING_FILE
    )
    return tuple(sorted({file, *(entry for entry in beside if is_file(entry))}))


def is_file(path: Path) -> bool:
    """True for a file that we may see; what stands in the way of seeing it is reported
    by whoever then looks into its directory.
    """
    try:
        return path.is_file()
    except OSError:
        return False


def _names(section: Node) -> dict[str, str]:
    names = {name: node.text() for name, node in section.mapping().items()}
    for name in names.values():
        if not name or list(names.values()).count(name) > 1:
            section.refuse(f"{name!r} is no name of one tensor")
    return names


def _is_complete(file: Path, companion: str | None) -> bool:
    return is_file(file) and (companion is None or is_file(file.with_suffix(companion)))


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError as error:
        details = f"{directory}: {error.strerror}"
        raise ServingError(Status.PATH_INVALID, details) from error

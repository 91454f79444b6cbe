"""A config.json is changed as a whole: whoever reads it meanwhile sees the old one or the
new one, both sound, and of two that change it at a time none undoes what the other did.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository import document, files, models
from ovms_mp.repository.config import graph_home
from ovms_mp.repository.schema import parse_config

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_MODELS: Final = "model_config_list"
_GRAPHS: Final = "mediapipe_config_list"
# What a new file may be read by, as far as the umask lets it: the server's user is
# seldom the one who writes it.
_NEW_MODE: Final = 0o644


def add(config: Path, name: str, base_path: str) -> None:
    """Name a model or graph in a config, which is made if there is none. `base_path` is
    written as it is: relative to the config's folder, if relative.

    Raises ServingError: MODEL_NAME_OCCUPIED if the name is there, FILE_INVALID and
    JSON_INVALID for a config that cannot be read; OSError if it cannot be written.
    """
    with _changing(config) as (sections, file):
        if any(each == name for each in _names(sections)):
            raise ServingError(Status.MODEL_NAME_OCCUPIED, name)
        entry = {"config": {"name": name, "base_path": base_path}}
        sections.setdefault(_MODELS, []).append(entry)
        _write(file, sections)


def remove(config: Path, name: str) -> None:
    """Have a config not name a model or graph any more.

    Raises ServingError: MODEL_NAME_MISSING if it does not, PATH_INVALID if there is no
    config; otherwise as `add`.
    """
    if not models.is_file(config):
        raise ServingError(Status.PATH_INVALID, str(config))
    with _changing(config) as (sections, file):
        if all(each != name for each in _names(sections)):
            raise ServingError(Status.MODEL_NAME_MISSING, name)
        for section in (_MODELS, _GRAPHS):
            if section in sections:
                sections[section] = [
                    each
                    for each in sections[section]
                    if _settings(each)["name"] != name
                ]
        _write(file, sections)


def servables(repository: Path) -> list[str]:
    """Models and graphs that lie below a folder, sorted: names are paths relative to it.
    A model is a folder with a version in it that is complete.

    Raises ServingError, PATH_INVALID, if it is no folder.
    """
    if not files.is_folder(repository):
        raise ServingError(Status.PATH_INVALID, str(repository))
    return sorted(
        str(found.relative_to(repository))
        for folder in _folders(repository)
        for found in _servables(folder, files.MAX_DEPTH)
    )


def _servables(folder: Path, depth: int) -> Iterator[Path]:
    if graph_home(folder) is not None or _is_model(folder):
        yield folder
    elif depth:
        for each in _folders(folder):
            yield from _servables(each, depth - 1)


def _is_model(folder: Path) -> bool:
    try:
        versions = models.versions(folder)
    except ServingError:
        return False
    return any(map(_is_complete, versions.values()))


def _is_complete(version: Path) -> bool:
    try:
        models.model_file(version)
    except ServingError:
        return False
    return True


def _folders(folder: Path) -> list[Path]:
    try:
        return [each for each in folder.iterdir() if files.is_folder(each)]
    except OSError:
        return []


@contextmanager
def _changing(config: Path) -> Generator[tuple[dict[str, Any], Path]]:
    """What a config says, and the file to write, for one process at a time."""
    # What a link points to is replaced, not the link.
    file = config.resolve()
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not file.exists():
            yield {_MODELS: []}, file
            return
        root = document.read(file)
        parse_config(root)
        yield cast("dict[str, Any]", root.value), file
    finally:
        os.close(folder)


def _names(sections: dict[str, Any]) -> list[str]:
    entries = [*sections.get(_MODELS, ()), *sections.get(_GRAPHS, ())]
    return [_settings(each)["name"] for each in entries]


def _settings(entry: dict[str, Any]) -> dict[str, Any]:
    return entry.get("config", entry)


def _write(file: Path, sections: dict[str, Any]) -> None:
    text = json.dumps(sections, indent=4, ensure_ascii=False) + "\n"
    content = text.encode()
    # What is written can be read again: a name may be none.
    parse_config(document.parse(content, str(file)))
    with tempfile.NamedTemporaryFile(
        dir=file.parent, prefix=f".{file.name}.", delete=False
    ) as written:
        path = Path(written.name)
        try:
            written.write(content)
            written.flush()
            os.fsync(written.fileno())
            path.chmod(_mode(file))
            path.replace(file)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _mode(file: Path) -> int:
    try:
        return file.stat().st_mode & 0o777
    except FileNotFoundError:
        return _NEW_MODE

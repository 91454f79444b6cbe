"""`--list_models`, `--add_to_config` and `--remove_from_config`: OVMS's words and exit
codes.

`--add_to_config` and `--remove_from_config` are switches beside `--config_path`, as in
OVMS since 2025.4, or take the config or its folder as their value, as before.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository import editing
from ovms_mp.settings import MODEL_FLAGS, UsageError

LIST: Final = "list_models"
ADD: Final = "add_to_config"
REMOVE: Final = "remove_from_config"

CONFIG_FILE: Final = "config.json"

_OFF: Final = ("", "false", "0")
_ON: Final = ("true", "1")


def is_wanted(given: Mapping[str, str]) -> bool:
    """True if these flags ask for one of the three."""
    return bool(_wanted(given))


def run(given: Mapping[str, str]) -> int:
    """Do it; returns the exit code. Raises UsageError."""
    wanted = _wanted(given)
    _check_company(given, wanted)
    if LIST in wanted:
        return _list(given)
    config = _config(given, wanted[0])
    name = given.get("model_name", "")
    if not name:
        raise UsageError("Set model_name with add_to_config/remove_from_config")
    base_path = "" if REMOVE in wanted else _base_path(given, name)
    strange = [each for each in MODEL_FLAGS if given.get(each)]
    if strange:
        raise UsageError(
            "Adding or removing models from the configuration file, allows passing only "
            f"model_name and model_path parameters. Invalid parameters passed: "
            f"{', '.join(strange)}"
        )
    try:
        if REMOVE in wanted:
            editing.remove(Path(config), name)
        else:
            editing.add(Path(config), name, base_path)
    except ServingError as error:
        return _failed(config, error)
    except OSError as error:
        return _failed(config, ServingError(Status.FILE_INVALID, str(error)))
    print(f"Config updated: {config}")
    return 0


def _wanted(given: Mapping[str, str]) -> list[str]:
    return [each for each in (LIST, ADD, REMOVE) if given.get(each, "") not in _OFF]


def _check_company(given: Mapping[str, str], wanted: list[str]) -> None:
    for one, other in ((LIST, ADD), (LIST, REMOVE), (ADD, REMOVE)):
        if one in wanted and other in wanted:
            raise _cannot_be_together(one, other)
    if REMOVE in wanted and given.get("model_path"):
        raise _cannot_be_together("model_path", REMOVE)


def _cannot_be_together(one: str, other: str) -> UsageError:
    return UsageError(f"error parsing options - --{one} cannot be used with --{other}")


def _list(given: Mapping[str, str]) -> int:
    repository = given.get("model_repository_path", "")
    if not repository:
        raise UsageError("Use --list_models with --model_repository_path")
    try:
        names = editing.servables(Path(repository))
    except ServingError as error:
        print(error.text, file=sys.stderr)
        return 1
    for name in names:
        print(name)
    return 0


def _config(given: Mapping[str, str], command: str) -> str:
    value = given[command]
    config = given.get("config_path", "") if value in _ON else value
    if not config:
        raise UsageError("Set config_path with add_to_config/remove_from_config")
    return str(Path(config) / CONFIG_FILE) if Path(config).is_dir() else config


def _base_path(given: Mapping[str, str], name: str) -> str:
    path, repository = given.get("model_path"), given.get("model_repository_path")
    if path:
        return path
    if not repository:
        raise UsageError(
            "Set model_name either with model_path or model_repository_path with "
            "add_to_config"
        )
    return str(Path(repository) / name)


def _failed(config: str, error: ServingError) -> int:
    print(f"{config} error on config update : {error.text}")
    return 1

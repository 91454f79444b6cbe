"""Flags can come from the environment, so that a container is set up without arguments.

`OVMS_MP_<FLAG>` stands for `--<flag>`, which wins where both are given. OVMS's own are
known too: `GRPC_SERVERS`, which wins over `--grpc_workers`, and
`OVMS_MODEL_REPOSITORY_PATH`, the repository and the folder of config.json where no flag
names another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from ovms_mp.commands.managing import CONFIG_FILE

PREFIX: Final = "OVMS_MP_"
REPOSITORY: Final = "OVMS_MODEL_REPOSITORY_PATH"
WORKERS: Final = "GRPC_SERVERS"

# Kubernetes tells pods of a Service named `ovms-mp` that OVMS_MP_PORT is tcp://10.0.0.1:80.
_ADDRESSES: Final = ("tcp://", "udp://", "sctp://")
SOURCES: Final = ("config_path", "model_name", "model_path")
"""Flags that say what is served."""


def completed(
    given: Mapping[str, str], known: Iterable[str], environ: Mapping[str, str]
) -> dict[str, str]:
    """For a server: `given`, and what the environment says of flags that are `known`.
    Who names what is served does not mean what the environment names.
    """
    names_source = any(map(given.get, SOURCES))
    wanted = (name for name in known if not (names_source and name in SOURCES))
    flags = {**_said(wanted, environ), **given}
    if environ.get(WORKERS):
        flags["grpc_workers"] = environ[WORKERS]
    if environ.get(REPOSITORY) and not any(map(flags.get, SOURCES)):
        flags["config_path"] = _config_in(environ[REPOSITORY])
    return flags


def with_config(given: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """For what is done to a config or a repository: `given`, and where they are."""
    flags = _said(("config_path", "model_repository_path"), environ)
    repository = environ.get(REPOSITORY)
    if repository:
        flags.setdefault("config_path", _config_in(repository))
        flags.setdefault("model_repository_path", repository)
    return {**flags, **given}


def variable(flag: str) -> str:
    """The variable that stands for a flag."""
    return PREFIX + flag.upper().replace("-", "_")


def _said(flags: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    said = {flag: environ.get(variable(flag), "") for flag in flags}
    return {
        flag: value
        for flag, value in said.items()
        if value and not value.startswith(_ADDRESSES)
    }


def _config_in(repository: str) -> str:
    return str(Path(repository) / CONFIG_FILE)

"""Configurations in the making."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

from ovms_mp.core.errors import Status
from ovms_mp.repository.config import RepositoryConfig

Entry: TypeAlias = dict[str, Any]


def write(file: Path, content: object) -> Path:
    """A JSON file, with the directories above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def models(*entries: Entry) -> Entry:
    """A config with these models."""
    return {"model_config_list": [{"config": entry} for entry in entries]}


def graphs(*entries: Entry) -> Entry:
    """A config with these graphs."""
    return {"model_config_list": [], "mediapipe_config_list": list(entries)}


def graph_in(directory: Path) -> Path:
    """A directory that holds a graph."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "graph.pbtxt").touch()
    return directory


def problems(config: RepositoryConfig) -> list[tuple[str, Status, str]]:
    """Who is not served as written, and why."""
    return [(p.subject, p.error.status, p.error.details) for p in config.problems]

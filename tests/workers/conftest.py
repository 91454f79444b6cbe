"""A server of two workers, whose calls tell which of them answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.workers.servers import WHO, Workers


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return served(tmp_path)


def served(folder: Path) -> Path:
    """The config of a model and a graph."""
    folder = folder / "served"
    zoo.add_model(folder, "add_one", tiny.add_one((1, 5)))
    zoo.add_graph(folder, "who", zoo.words(), speaker=WHO)
    return zoo.write_config(folder, [zoo.entry("add_one")], [{"name": "who"}])


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """One for several tests, which leave it as it was."""
    folder = tmp_path_factory.mktemp("standing")
    with serving(served(folder), folder) as server:
        yield server


@pytest.fixture
def server(config: Path, tmp_path: Path) -> Iterator[Workers]:
    with serving(config, tmp_path) as server:
        yield server


@contextmanager
def serving(config: Path, folder: Path) -> Iterator[Workers]:
    """The server, ready."""
    flags = ("--rest_port", "auto", "--metrics_enable")
    with Workers(folder, "--config_path", str(config), *flags) as server:
        server.ready()
        yield server

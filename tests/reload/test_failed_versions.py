"""A version that cannot be loaded is told of as long as it is wanted, and no longer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from tests.reload.mount import plus
from tests.wire import zoo
from tests.wire.calls import ask, refusal
from tests.wire.rest import Rest
from tests.wire.servers import Server, sample, serving
from tests.wire.waiting import until

FOUR: Final = np.zeros((1, 4), np.float32)
ALL: Final = {"model_version_policy": {"all": {}}}
FIRST: Final = {"model_version_policy": {"specific": {"versions": [1]}}}
FAILED: Final = ("LOADING", "UNKNOWN")
AVAILABLE: Final = ("AVAILABLE", "OK")
END: Final = ("END", "OK")


def remove_it(folder: Path) -> None:
    shutil.rmtree(folder / "m" / "7")


def select_another(folder: Path) -> None:
    zoo.write_config(folder, [zoo.entry("m", **FIRST)])


def put_the_model_elsewhere(folder: Path) -> None:
    zoo.add_model(folder, "elsewhere", plus(1))
    zoo.write_config(folder, [zoo.entry("m", base_path="elsewhere", **ALL)])


def remove_the_model(folder: Path) -> None:
    zoo.write_config(folder, [])


def told(server: Server) -> dict[str, Any]:
    return Rest(server.app.rest_port).get("/v1/config").json["m"]


@pytest.mark.parametrize(
    "change",
    [remove_it, select_another, put_the_model_elsewhere, remove_the_model],
    ids=lambda change: change.__name__,
)
def test_a_version_that_failed_ends_when_nobody_wants_it(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    zoo.add_model(tmp_path, "m", plus(0))
    zoo.add_model(tmp_path, "m", plus(0), 7)
    (tmp_path / "m" / "7" / "model.xml").write_text("not anything")
    config = zoo.write_config(tmp_path, [zoo.entry("m", **ALL)])
    with (
        serving(config, file_system_poll_wait_seconds=0) as server,
        server.connect() as channel,
    ):
        before = told(server)
        change(tmp_path)
        server.app.reload()
        served = END if change is remove_the_model else AVAILABLE
        assert until(lambda: states(told(server)) == {"1": served, "7": END})
        after = told(server)
        seventh = ask("m", {"x": FOUR}, model_version="7")
        assert refusal(channel, seventh) == (
            "NOT_FOUND",
            "Model with requested version is retired",
        )
        page = server.app.metrics.render().decode()
        assert server.said("model m version 7 is removed")
    assert states(before) == {"1": AVAILABLE, "7": FAILED}
    assert "reason" not in after
    assert not any("reason" in each for each in after["model_version_status"])
    labels = {"name": "m", "version": "7"}
    assert not sample(page, "ovms_mp_outdated", labels)


def test_why_a_model_has_no_versions_is_told_no_longer_than_the_model_is_wanted(
    tmp_path: Path,
) -> None:
    zoo.add_model(tmp_path, "m", plus(0))
    config = zoo.write_config(tmp_path, [zoo.entry("m")])
    with serving(config, file_system_poll_wait_seconds=0) as server:
        remove_it_all(tmp_path)
        server.app.reload()
        assert "reason" in told(server)
        remove_the_model(tmp_path)
        server.app.reload()
        assert "reason" not in told(server)


def remove_it_all(folder: Path) -> None:
    shutil.rmtree(folder / "m" / "1")


def states(servable: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {
        each["version"]: (each["state"], each["status"]["error_code"])
        for each in servable["model_version_status"]
    }

"""What is wanted, less what is served, is what is done: no more, not again, and by as
many as may.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.graph.registry import Registry
from ovms_mp.repository.snapshot import Scanner
from ovms_mp.servable.calculators import Calculators
from ovms_mp.servable.catalog import Catalog
from ovms_mp.servable.faults import FIRST_RETRY_SECONDS
from ovms_mp.servable.reconciler import LOADERS, Reconciler
from ovms_mp.servable.status import Outcome
from ovms_mp.telemetry.metrics import Metrics
from tests.wire import zoo


class Servable:
    """Has a version, and is closed once."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Loads:
    """Loads as the test says: a version's file holds `good` or why it cannot be."""

    def __init__(self) -> None:
        self.tried: list[tuple[str, int]] = []
        self.made: list[Servable] = []
        self.meeting: threading.Barrier | None = None
        self.meanwhile: Callable[[], object] = lambda: None

    def version(self, spec: Any, number: int, directory: Path) -> Servable:
        if self.meeting is not None:
            self.meeting.wait(30)
        self.tried.append((spec.name, number))
        text = (directory / "model.onnx").read_text()
        if not text.startswith("good"):
            raise ServingError(Status.MODEL_NOT_LOADED, text)
        self.made.append(Servable(number))
        self.meanwhile()
        return self.made[-1]


class Site:
    """Models in a folder, and who serves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.loads = Loads()
        self.catalog = Catalog(Metrics.off())
        self.reconciler = Reconciler(
            self.catalog,
            self.loads,  # pyright: ignore[reportArgumentType]
            Calculators(Registry),
            Metrics.off(),
            clock=lambda: self.now,
        )

    def put(self, name: str, version: int, text: str = "good") -> None:
        home = self.folder / name / str(version)
        home.mkdir(parents=True, exist_ok=True)
        (home / "model.onnx").write_text(text)

    def apply(self, *names: str, **more: Any) -> dict[tuple[str, int], Outcome]:
        config = zoo.write_config(self.folder, [zoo.entry(name) for name in names])
        report = self.reconciler.apply(Scanner(config).scan(), **more)
        return {(each.name, each.version): each.outcome for each in report.changes}

    def serves(self, name: str) -> tuple[str, ...]:
        return self.catalog.available().get(name, ())


@pytest.fixture
def site(tmp_path: Path) -> Any:
    made = Site(tmp_path)
    yield made
    made.reconciler.close()


def test_what_is_the_same_is_not_loaded_again(site: Site) -> None:
    site.put("m", 1)
    assert site.apply("m") == {("m", 1): Outcome.LOADED}
    assert site.apply("m") == {("m", 1): Outcome.UNCHANGED}
    site.put("m", 1, "good")
    assert site.apply("m") == {("m", 1): Outcome.UNCHANGED}
    site.put("m", 1, "good and new")
    assert site.apply("m") == {("m", 1): Outcome.RELOADED}
    assert site.loads.tried == [("m", 1), ("m", 1)]
    old, new = site.loads.made
    assert old.is_closed and not new.is_closed


def test_the_old_version_goes_when_the_new_one_is_there_and_not_before(
    site: Site,
) -> None:
    site.put("m", 1)
    site.apply("m")
    site.put("m", 2, "half a file")
    assert site.apply("m") == {("m", 2): Outcome.FAILED, ("m", 1): Outcome.UNCHANGED}
    assert site.serves("m") == ("1",)
    site.put("m", 2)
    assert site.apply("m") == {("m", 2): Outcome.LOADED, ("m", 1): Outcome.REMOVED}
    assert site.serves("m") == ("2",)


def test_a_served_version_whose_files_broke_is_not_given_up_for_a_lower_one(
    site: Site,
) -> None:
    site.put("m", 1)
    site.put("m", 2)
    site.apply("m")
    site.put("m", 2, "broken")
    assert site.apply("m") == {("m", 2): Outcome.FAILED}
    assert site.serves("m") == ("2",)


def test_a_failure_is_tried_again_after_a_while_or_when_somebody_asks(
    site: Site,
) -> None:
    site.put("m", 1, "no")
    for _ in range(3):
        assert site.apply("m") == {("m", 1): Outcome.FAILED}
    assert len(site.loads.tried) == 1
    assert not site.reconciler.is_due
    site.now += FIRST_RETRY_SECONDS
    assert site.reconciler.is_due
    site.apply("m")
    assert len(site.loads.tried) == 2
    site.now += FIRST_RETRY_SECONDS  # it waits longer each time
    assert not site.reconciler.is_due
    site.apply("m", is_asked=True)
    assert len(site.loads.tried) == 3


def test_what_moves_is_left_alone(site: Site) -> None:
    site.put("m", 1)
    site.apply("m")
    site.put("m", 1, "good, half of it")
    site.put("m", 2)
    assert site.apply("m", is_moving=lambda part: True) == {}
    assert site.serves("m") == ("1",)
    assert len(site.loads.tried) == 1
    site.apply("m")
    assert site.serves("m") == ("2",)


def test_what_changes_while_it_is_read_is_read_again(site: Site) -> None:
    """Half of it may be of the one and half of the other."""
    site.put("m", 1)
    site.loads.meanwhile = lambda: site.put("m", 1, "good and another one")
    assert site.apply("m") == {("m", 1): Outcome.FAILED}
    (void,) = site.loads.made
    assert void.is_closed
    assert site.serves("m") == ()
    site.loads.meanwhile = lambda: None
    assert site.apply("m") == {("m", 1): Outcome.LOADED}
    assert not site.loads.made[-1].is_closed


def test_models_are_loaded_by_so_many_at_a_time(site: Site) -> None:
    """None is done before LOADERS have begun, and with fewer they would wait for ever."""
    site.loads.meeting = threading.Barrier(LOADERS)
    names = [f"m{number}" for number in range(2 * LOADERS)]
    for name in names:
        site.put(name, 1)
    done = site.apply(*names)
    assert set(done.values()) == {Outcome.LOADED} and len(done) == len(names)


def test_what_no_config_names_is_retired_and_may_come_back(site: Site) -> None:
    site.put("m", 1)
    site.put("n", 1)
    site.apply("m", "n")
    assert site.apply("n") == {("n", 1): Outcome.UNCHANGED, ("m", 1): Outcome.REMOVED}
    assert site.catalog.names() == ("n",)
    assert site.loads.made[0].is_closed or site.loads.made[1].is_closed
    assert site.apply("m", "n")["m", 1] is Outcome.LOADED
    assert set(site.catalog.names()) == {"m", "n"}


def test_a_directory_that_is_gone_retires_nothing(site: Site) -> None:
    site.put("m", 1)
    site.apply("m")
    (site.folder / "m").rename(site.folder / "away")
    assert site.apply("m") == {("m", 0): Outcome.FAILED}
    assert site.serves("m") == ("1",)
    (site.folder / "away").rename(site.folder / "m")
    assert site.apply("m") == {("m", 1): Outcome.UNCHANGED}
    assert not [each for each in site.catalog.status() if each.reason]

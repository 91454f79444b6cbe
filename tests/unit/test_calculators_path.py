"""Calculators of a folder, as the server takes them when it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovms_mp.app import _calculators
from ovms_mp.settings import Settings, UsageError

CALCULATOR = """
from ovms_mp.calculator import Calculator

class {name}(Calculator):
    pass
"""


def settings(path: Path | None, **classes: str) -> Settings:
    for file, name in classes.items():
        assert path is not None
        (path / f"{file}.py").write_text(CALCULATOR.format(name=name))
    return Settings(Path("config.json"), calculators_path=path)


def names(wanted: Settings) -> set[str]:
    return set(_calculators(wanted).lease().servable.names())


def test_the_server_has_the_calculators_of_the_folder_beside_the_installed(
    tmp_path: Path,
) -> None:
    installed = names(settings(None))
    both = names(settings(tmp_path, mine="MineCalculator"))
    assert both - installed == {"MineCalculator"}
    assert installed < both


def test_a_name_that_is_there_twice_stops_the_server_and_names_both_origins(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError) as caught:
        _calculators(settings(tmp_path, mine="PassThroughCalculator"))
    assert "from distribution 'ovms-mp " in str(caught.value)
    assert "from 'mine.py' of the calculators path" in str(caught.value)

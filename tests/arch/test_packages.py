"""What the five import roots promise to those who import them."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import zipfile
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

ROOTS = {
    "ovms_mp": Path("ovms_mp"),
    "ovms_mp_calculators": Path("calculators/ovms_mp_calculators"),
    "ovms_mp_clients": Path("clients/ovms_mp_clients"),
    "ovms_mp_graphs": Path("graphs/ovms_mp_graphs"),
    "ovms_mp_protos": Path("protos/ovms_mp_protos"),
}
CALCULATORS = sorted(entry_points(group="ovms_mp.calculators"), key=lambda e: e.name)

# Slow to import or heavy in memory: nothing that `import ovms_mp` may bring along.
HEAVY = ("cv2", "google.protobuf", "grpc", "numpy", "openvino", "starlette")


def packages(files: tuple[Path, ...]) -> dict[str, Path]:
    """Import name of each package below the roots, and its ``__init__`` file."""
    return {
        ".".join((root, *path.relative_to(folder).parts[:-1])): path
        for root, folder in ROOTS.items()
        for path in files
        if path.name == "__init__.py" and path.is_relative_to(folder)
    }


def test_a_package_that_offers_names_lists_them_in_a_tuple(
    root: Path, files: tuple[Path, ...]
) -> None:
    offering = {
        name
        for name, path in packages(files).items()
        if len(ast.parse((root / path).read_text(encoding="utf-8")).body) > 1
    }
    assert "ovms_mp" in offering
    for name in sorted(offering):
        package = importlib.import_module(name)
        names = getattr(package, "__all__", None)
        assert isinstance(names, tuple), f"{name}.__all__ is not a tuple"
        missing = [each for each in names if not hasattr(package, each)]
        assert missing == [], f"{name}.__all__ promises what is not there"


def test_every_folder_of_modules_is_a_package(files: tuple[Path, ...]) -> None:
    folders = {
        path.parent
        for path in files
        if path.suffix == ".py"
        and any(path.is_relative_to(root) for root in ROOTS.values())
    }
    assert sorted(f for f in folders if f / "__init__.py" not in files) == []


def test_importing_the_server_package_costs_next_to_nothing() -> None:
    probe = f"import sys, ovms_mp; print([m for m in {HEAVY!r} if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-Ic", probe], check=True, capture_output=True, text=True
    ).stdout
    assert loaded.strip() == "[]"


@pytest.mark.parametrize("entry", CALCULATORS, ids=lambda entry: entry.name)
def test_an_entry_point_is_called_as_the_class_that_it_loads_alone(
    entry: EntryPoint,
) -> None:
    is_family = sum(each.value == entry.value for each in CALCULATORS) > 1
    assert is_family or entry.load().__name__ == entry.name


def test_the_wheel_ships_the_four_roots_and_nothing_else(
    root: Path, files: tuple[Path, ...], tmp_path: Path
) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=root,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        str(Path(root_name) / path.relative_to(folder))
        for root_name, folder in ROOTS.items()
        for path in files
        if path.is_relative_to(folder)
    }
    assert shipped == expected
    assert {f"{name}/py.typed" for name in ROOTS} <= shipped


@pytest.mark.timeout(300)  # eight seconds of a processor that others want as well
@pytest.mark.parametrize("lock", ["runtime", "runtime-native"])
def test_a_bill_of_materials_has_every_package_of_a_lock_with_its_hashes(
    root: Path, tmp_path: Path, lock: str
) -> None:
    text = (root / "locks" / f"{lock}.txt").read_text()
    pinned = set(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))
    bill = tmp_path / "bill.json"
    subprocess.run(
        [
            *(str(Path(sys.executable).parent / "cyclonedx-py"), "requirements"),
            *("-o", str(bill), str(root / "locks" / f"{lock}.txt")),
        ],
        check=True,
        capture_output=True,
    )
    components = json.loads(bill.read_text())["components"]
    assert {(each["name"], each["version"]) for each in components} == pinned
    for each in components:
        assert any(
            reference.get("hashes") for reference in each["externalReferences"]
        ), each["name"]

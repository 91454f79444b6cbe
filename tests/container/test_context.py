"""What an image is built from is all that a wheel is made of."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"


def sent(folder: Path) -> None:
    """Put there what `.dockerignore` lets an engine see."""
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            source, target = ROOT / line[1:], folder / line[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, target, ignore=ignored)
            else:
                shutil.copyfile(source, target)


def test_a_wheel_that_an_image_builds_has_every_package(tmp_path: Path) -> None:
    context = tmp_path / "context"
    sent(context)
    command = (sys.executable, "-c", BUILD, str(tmp_path))
    subprocess.run(command, cwd=context, check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    in_it = set(zipfile.ZipFile(wheel).namelist())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    missing = [
        str(file.relative_to(ROOT))
        for package in packages
        for file in (ROOT / package).rglob("*")
        if file.suffix in (".py", ".pbtxt")
        if str(file.relative_to((ROOT / package).parent)) not in in_it
    ]
    assert not missing

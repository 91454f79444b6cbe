"""Version directories and model files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository.models import model_file, versions


def touch(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()


def test_versions_are_directories_named_by_positive_numbers(tmp_path: Path) -> None:
    for name in ("1", "2", "10", "0", "01", "-3", "+4", "5a", " 6", "٣", "9" * 19):
        (tmp_path / name).mkdir()
    (tmp_path / "7").touch()
    found = versions(tmp_path)
    assert found == {n: tmp_path / str(n) for n in (1, 2, 10)}
    assert list(found) == [1, 2, 10]


def test_a_link_to_a_directory_is_a_version(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "3").symlink_to("data")
    assert versions(tmp_path) == {3: tmp_path / "3"}


def test_a_model_file_is_its_own_version_1(tmp_path: Path) -> None:
    touch(tmp_path, "model.onnx")
    assert versions(tmp_path / "model.onnx") == {1: tmp_path / "model.onnx"}


def test_a_base_path_that_is_not_there_is_path_invalid(tmp_path: Path) -> None:
    with pytest.raises(ServingError) as caught:
        versions(tmp_path / "none")
    assert caught.value.status is Status.PATH_INVALID
    assert caught.value.details == f"{tmp_path / 'none'}: No such file or directory"


def test_a_path_that_cannot_even_be_looked_for_is_path_invalid(tmp_path: Path) -> None:
    for look in (versions, model_file):
        with pytest.raises(ServingError) as caught:
            look(tmp_path / ("x" * 300))
        assert caught.value.status is Status.PATH_INVALID


def test_a_base_path_without_versions_is_told(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    with pytest.raises(ServingError) as caught:
        versions(tmp_path)
    assert caught.value.status is Status.NO_MODEL_VERSION_AVAILABLE


SEARCH_ORDER = (
    ("m.xml", "m.bin"),
    ("m.onnx",),
    ("m.pdmodel", "m.pdiparams"),
    ("m.pb",),
    ("m.tflite",),
)


@pytest.mark.parametrize("first", range(len(SEARCH_ORDER)))
def test_formats_are_searched_in_the_order_of_ovms(tmp_path: Path, first: int) -> None:
    for files in SEARCH_ORDER[first:]:
        touch(tmp_path, *files)
    assert model_file(tmp_path) == tmp_path / SEARCH_ORDER[first][0]


def test_a_format_of_two_files_needs_both(tmp_path: Path) -> None:
    touch(tmp_path, "a.xml", "other.bin", "b.pdmodel", "c.tflite")
    assert model_file(tmp_path) == tmp_path / "c.tflite"
    touch(tmp_path, "a.bin")
    assert model_file(tmp_path) == tmp_path / "a.xml"


def test_of_several_files_of_a_format_the_first_by_name_counts(tmp_path: Path) -> None:
    touch(tmp_path, "b.onnx", "a.onnx", "c.onnx")
    assert model_file(tmp_path) == tmp_path / "a.onnx"


def test_of_a_saved_model_openvino_reads_the_directory(tmp_path: Path) -> None:
    touch(tmp_path, "saved_model.pb", "variables/variables.index")
    assert model_file(tmp_path) == tmp_path
    assert model_file(tmp_path / "saved_model.pb") == tmp_path


def test_a_file_is_judged_as_a_directory_is(tmp_path: Path) -> None:
    touch(tmp_path, "m.xml", "n.onnx", "x.txt")
    assert model_file(tmp_path / "n.onnx") == tmp_path / "n.onnx"
    for name in ("m.xml", "x.txt"):
        with pytest.raises(ServingError) as caught:
            model_file(tmp_path / name)
        assert caught.value.status is Status.FILE_INVALID


def test_without_a_model_file_the_known_formats_are_told(tmp_path: Path) -> None:
    (tmp_path / "1.onnx").mkdir()
    with pytest.raises(ServingError) as caught:
        model_file(tmp_path)
    assert caught.value.details == (
        f"{tmp_path}: expected a model file (.xml with .bin, .onnx, "
        ".pdmodel with .pdiparams, .pb, .tflite)"
    )


def test_a_version_that_is_gone_is_path_invalid(tmp_path: Path) -> None:
    with pytest.raises(ServingError) as caught:
        model_file(tmp_path / "1")
    assert caught.value.status is Status.PATH_INVALID

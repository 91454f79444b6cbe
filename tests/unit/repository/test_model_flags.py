"""Flags and keys that say how a model looks to clients mean the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovms_mp.core.adaptation import Adaptation, parse
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository.config import ModelSpec, read
from ovms_mp.repository.models import name_mapping
from ovms_mp.settings import UsageError, settings_from
from tests.unit.repository.support import models, problems, write

MODEL = {"model_name": "m", "model_path": "/models/m"}
FORMS: tuple[tuple[dict[str, str], dict[str, Any]], ...] = (
    ({"shape": "auto"}, {"shape": "auto"}),
    ({"shape": '{"a": "(1,2)", "b": "auto"}'}, {"shape": {"a": "(1,2)", "b": "auto"}}),
    ({"shape": '{"a": "(1,2)"}'}, {"shape": {"a": [1, 2]}}),
    ({"batch_size": "4"}, {"batch_size": 4}),
    ({"batch_size": "1:8"}, {"batch_size": "1:8"}),
    ({"batch_size": "0"}, {"batch_size": 0}),
    ({"layout": "NHWC:NCHW"}, {"layout": "NHWC:NCHW"}),
    ({"layout": '{"x": "NHWC:NCHW"}'}, {"layout": {"x": "NHWC:NCHW"}}),
    (
        {"layout": "NHWC", "mean": "[1,2.5]", "scale": "2"},
        {"layout": "NHWC", "mean": [1, 2.5], "scale": 2},
    ),
    (
        {"layout": "NHWC", "color_format": "BGR:RGB", "precision": "uint8:fp32"},
        {"layout": "NHWC", "color_format": "BGR:RGB", "precision": "uint8:fp32"},
    ),
)


def of_flags(flags: dict[str, str]) -> Adaptation:
    source = settings_from(MODEL | flags).source
    assert isinstance(source, ModelSpec)
    return source.adaptation


@pytest.mark.parametrize(("flags", "keys"), FORMS)
def test_a_flag_and_a_key_mean_the_same(
    flags: dict[str, str], keys: dict[str, Any], config: Path
) -> None:
    (model,) = read(write(config, models({"name": "m", **keys}))).models
    assert model.adaptation == of_flags(flags)


@pytest.mark.parametrize("flag", ["mean", "scale", "color_format", "precision"])
def test_what_is_done_to_numbers_needs_a_layout(flag: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings_from(MODEL | {flag: "1"})
    assert str(caught.value) == (
        f"error parsing options - --{flag} parameter requires --layout to be set"
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"shape": "1,3"}, "The provided shape is in wrong format - '1,3': expected"),
        ({"shape": "{1}"}, "--shape: line 1"),
        ({"shape": '{"a": true}'}, "--shape: a: expected a string or a number"),
        ({"batch_size": "many"}, "The provided dimension is in wrong format"),
        ({"layout": "XYZ"}, "The provided layout is in wrong format"),
        (
            {"layout": "NHWC", "mean": "x"},
            "The provided float is in wrong format - mean: 'x': expected",
        ),
        (
            {"layout": "NHWC", "mean": "1", "scale": "[1,,2]"},
            "The provided float is in wrong format - scale: '[1,,2]': expected",
        ),
    ],
)
def test_a_flag_of_a_wrong_form_is_wrong_usage(
    flags: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        settings_from(MODEL | flags)
    assert str(caught.value).startswith(words)


def test_a_key_of_a_wrong_form_leaves_out_its_model_alone(config: Path) -> None:
    entries = models({"name": "m", "layout": "XYZ"}, {"name": "ok"})
    found = read(write(config, entries))
    assert [model.name for model in found.models] == ["ok"]
    ((name, status, details),) = problems(found)
    assert (name, status) == ("m", Status.LAYOUT_WRONG_FORMAT)
    assert "'XYZ'" in details
    with pytest.raises(ServingError) as caught:
        read(write(config, models({"name": "m", "shape": [1, {}]})))
    assert caught.value.status is Status.JSON_INVALID


def test_a_cache_is_a_directory_that_may_be_made_yet(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wanted = settings_from(MODEL | {"cache_dir": str(tmp_path / "new")})
    assert wanted.cache_dir == tmp_path / "new"
    with pytest.raises(UsageError, match="cache_dir should be a directory"):
        settings_from(MODEL | {"cache_dir": str(tmp_path / "file")})


def test_names_are_mapped_by_a_file_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    for place in (tmp_path, tmp_path / "m.onnx"):
        assert name_mapping(place) == ({}, {})
    file = tmp_path / "mapping_config.json"
    file.write_text('{"inputs": {"x:0": "x"}, "outputs": {"y:0": "y", "z:0": "z"}}')
    for place in (tmp_path, tmp_path / "m.onnx"):
        assert name_mapping(place) == ({"x:0": "x"}, {"y:0": "y", "z:0": "z"})


@pytest.mark.parametrize(
    "text",
    [
        '{"input": {}}',
        '{"inputs": {"a": 1}}',
        '{"inputs": {"a": "c", "b": "c"}}',
        "[]",
        '{"outputs": {"a": ""}}',
        "{",
    ],
)
def test_a_mapping_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "mapping_config.json").write_text(text)
    with pytest.raises(ServingError) as caught:
        name_mapping(tmp_path)
    assert caught.value.status is Status.JSON_INVALID


def test_nothing_written_wants_nothing() -> None:
    assert of_flags({}) == parse({})

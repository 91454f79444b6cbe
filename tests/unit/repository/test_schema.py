"""What a config.json may say."""

from __future__ import annotations

import json

import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository import document
from ovms_mp.repository.schema import parse_config
from tests.unit.repository.support import graphs, models


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([], "expected an object, got an array"),
        ({}, 'key "model_config_list" is missing'),
        (models() | {"extra": 1}, "extra: unknown key"),
        (
            {"model_config_list": {}},
            "model_config_list: expected an array, got an object",
        ),
        (
            {"model_config_list": [{}]},
            'model_config_list[0]: key "config" is missing',
        ),
        (
            {"model_config_list": [{"config": {"name": "m"}, "x": 1}]},
            "model_config_list[0].x: unknown key",
        ),
        (models({}), 'model_config_list[0].config: key "name" is missing'),
        (
            models({"name": "m"}, {"name": "n", "nirq": 4}),
            "model_config_list[1].config.nirq: unknown key",
        ),
        (
            models({"name": "m", "mean": "1"}),
            "model_config_list[0].config.mean: unknown key",
        ),
        (
            models({"name": 1}),
            "model_config_list[0].config.name: expected a string, got 1",
        ),
        (
            models({"name": "m", "nireq": "four"}),
            'model_config_list[0].config.nireq: expected an integer, got "four"',
        ),
        (
            models({"name": "m", "nireq": -1}),
            "model_config_list[0].config.nireq: "
            "expected an integer of at least 0, got -1",
        ),
        (
            models({"name": "m", "allow_cache": "yes"}),
            'model_config_list[0].config.allow_cache: expected true or false, got "yes"',
        ),
        (
            models({"name": "m", "plugin_config": {"DEVICE_PROPERTIES": {}}}),
            "model_config_list[0].config.plugin_config.DEVICE_PROPERTIES: "
            "expected a string, a number or a boolean, got an object",
        ),
        (
            models({"name": "m", "model_version_policy": {"some": 1}}),
            "model_config_list[0].config.model_version_policy.some: unknown key",
        ),
        (graphs({}), 'mediapipe_config_list[0]: key "name" is missing'),
        (
            graphs({"name": "g", "nireq": 1}),
            "mediapipe_config_list[0].nireq: unknown key",
        ),
        (
            models() | {"pipeline_config_list": {}},
            "pipeline_config_list: expected an array, got an object",
        ),
        (models() | {"monitoring": {}}, 'monitoring: key "metrics" is missing'),
        (
            models() | {"monitoring": {"metrics": {}}},
            'monitoring.metrics: key "enable" is missing',
        ),
        (
            models() | {"monitoring": {"metrics": {"enable": 1}}},
            "monitoring.metrics.enable: expected true or false, got 1",
        ),
        (
            models()
            | {"monitoring": {"metrics": {"enable": True, "metrics_list": "all"}}},
            'monitoring.metrics.metrics_list: expected an array, got "all"',
        ),
    ],
)
def test_a_config_that_breaks_the_schema_is_refused_whole_with_the_place(
    content: object, expected: str
) -> None:
    with pytest.raises(ServingError) as caught:
        parse_config(document.parse(json.dumps(content).encode(), "c.json"))
    assert caught.value.status is Status.JSON_INVALID
    assert caught.value.details == f"c.json: {expected}"

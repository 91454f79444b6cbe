"""What a config.json may say."""

from __future__ import annotations

import json

import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.stream_policy import Overflow, StreamPolicy
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
            models({"name": "m", "means": "1"}),
            "model_config_list[0].config.means: unknown key",
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
            graphs({"name": "g", "stream": {"windows": 1}}),
            "mediapipe_config_list[0].stream.windows: unknown key",
        ),
        (
            graphs({"name": "g", "stream": {"window": 0}}),
            "mediapipe_config_list[0].stream.window: "
            "expected an integer of at least 1, got 0",
        ),
        (
            graphs({"name": "g", "stream": {"overflow": "drop"}}),
            "mediapipe_config_list[0].stream.overflow: "
            "expected one of wait, reject, drop_oldest, got 'drop'",
        ),
        (
            graphs({"name": "g", "stream": {"max_age_seconds": 0}}),
            "mediapipe_config_list[0].stream.max_age_seconds: "
            "expected seconds above 0 and at most 3.16224e+07",
        ),
        (
            models() | {"pipeline_config_list": {}},
            "pipeline_config_list: expected an array, got an object",
        ),
        (
            models() | {"pipeline_config_list": [{"nodes": []}]},
            'pipeline_config_list[0]: key "name" is missing',
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


def test_a_graph_and_a_model_say_what_their_streams_may_hold() -> None:
    stream = {
        "window": 4,
        "queue": 2,
        "overflow": "drop_oldest",
        "idle_timeout_seconds": 60,
        "max_age_seconds": 0.5,
        "max_streams": 100,
        "coalesce": True,
    }
    content = {
        "model_config_list": [{"config": {"name": "m", "stream": stream}}],
        "mediapipe_config_list": [{"name": "g", "stream": stream}, {"name": "h"}],
    }
    parsed = parse_config(document.parse(json.dumps(content).encode(), "config.json"))
    expected = StreamPolicy(4, 2, Overflow.DROP_OLDEST, 60, 0.5, 100, coalesce=True)
    assert [each.stream for each in parsed.graphs] == [expected, StreamPolicy()]
    assert [each.graph.stream for each in parsed.models] == [expected]

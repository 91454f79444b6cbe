"""What is asked of the process that compiles arrives as it was meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ovms_mp.core.adaptation import NO_ADAPTATION, Adaptation, parse
from ovms_mp.inference.asking import Asked, asked_in, header_of
from ovms_mp.inference.engine import ModelConfig, NameMapping

ADAPTATIONS = [
    NO_ADAPTATION,
    parse({"batch_size": "auto"}),
    parse({"batch_size": "2:8"}),
    parse({"shape": "auto", "mean": "[1.5,2,3]", "scale": "0.1"}),
    parse({"shape": {"a": "(1,-1,200:500)", "b": "auto"}, "layout": "NHWC:NCHW"}),
    parse({"layout": {"a": "NC"}, "color_format": "BGR:RGB", "precision": "FP32:INT8"}),
]


@pytest.mark.parametrize("adaptation", ADAPTATIONS)
@pytest.mark.parametrize("extension", [None, Path("/opt/own.so")])
def test_what_is_asked_arrives(adaptation: Adaptation, extension: Path | None) -> None:
    config = ModelConfig(
        target_device="CPU.0",
        low_latency=True,
        adaptation=adaptation,
        names=NameMapping({"x": "a"}, {"y": "b"}),
    )
    properties = {"A": 1, "B": True, "C": 0.1, "D": "e", "F": {"G": "h"}}
    asked = Asked(Path("/models/a/1/a\n\u00e9.xml"), config, properties, extension)
    assert asked_in(json.loads(json.dumps(header_of(asked)))) == asked


def test_of_a_config_only_what_a_compiled_model_shows_is_asked() -> None:
    config = ModelConfig(nireq=3, max_queue_length=1, plugin_config={"A": 1})
    asked = Asked(Path("/model.xml"), config, {})
    header = json.loads(json.dumps(header_of(asked)))
    assert asked_in(header).config == ModelConfig()

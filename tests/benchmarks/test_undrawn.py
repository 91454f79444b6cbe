"""The graphs that `make bench` plays without their picture are those with it, but for it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ovms_mp_clients import Client

from tests.bench import undrawn, vision
from tests.bench.models import lay_out
from tests.formats.routes import stream
from tests.wire.servers import Process

PICTURE = {
    "faces": ["DetectionsToRenderDataCalculator", "AnnotationOverlayCalculator"],
    "hands": ["HandRendererSubgraph"],
    "pose": [
        "ImagePropertiesCalculator",
        "PoseLandmarksToRenderData",
        "AnnotationOverlayCalculator",
    ],
    "holistic": [
        "ImagePropertiesCalculator",
        "HolisticTrackingToRenderData",
        "AnnotationOverlayCalculator",
    ],
}
FRAMES = 6


def calculators(config: Any) -> Counter[str]:
    return Counter(node.calculator for node in config.node)


@pytest.mark.parametrize("graph", sorted(PICTURE))
def test_nothing_is_left_out_but_what_draws(graph: str) -> None:
    whole, kept = undrawn.whole(graph), undrawn.without_picture(graph)
    assert calculators(whole) - calculators(kept) == Counter(PICTURE[graph])
    assert calculators(kept) <= calculators(whole)
    left_out = [e for e in whole.output_stream if e not in kept.output_stream]
    assert left_out == ["IMAGE:annotated"]
    assert [*kept.input_stream] == [*whole.input_stream]


def test_the_numbers_are_the_same(tmp_path: Path) -> None:
    config = lay_out(tmp_path / "faces", (), ["faces"])
    undrawn.add(config, "faces")
    names = [e["name"] for e in json.loads(config.read_text())["mediapipe_config_list"]]
    assert names == ["faces", "faces_undrawn"]
    frames = vision.FACES.frames()[:FRAMES]
    with (
        Process(tmp_path, "--config_path", str(config)) as process,
        Client(process.ready()) as client,
    ):
        drawn = stream(client, "faces", frames, "frame")
        without = stream(client, "faces_undrawn", frames, "frame")
    assert [each.keys() for each in without] == [{"faces"}] * FRAMES
    for one, other in zip(drawn, without, strict=True):
        assert one.keys() == {"faces", "annotated"}
        assert one["faces"].size
        np.testing.assert_array_equal(one["faces"], other["faces"])

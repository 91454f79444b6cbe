"""Runs of graphs with native nodes, in this process."""

from __future__ import annotations

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.graph import islands
from tests.native import graphs, runs
from tests.wire.waiting import until

pytestmark = pytest.mark.usefixtures("no_worker_left")

POINTS = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], np.float32)
FRAME = ImageFrame(ImageFormat.SRGB, np.zeros((48, 64, 3), np.uint8))

VEILED = """
input_stream: "a"
input_stream: "b"
output_stream: "veiled"
output_stream: "b_beside"
node {
  calculator: "SetAlphaCalculator"
  input_stream: "IMAGE:a"
  output_stream: "IMAGE:veiled"
  node_options: {
    [type.googleapis.com/mediapipe.SetAlphaCalculatorOptions]: { alpha_value: 200 }
  }
}
node {
  calculator: "PassThroughCalculator"
  input_stream: "veiled"
  input_stream: "b"
  output_stream: "veiled_beside"
  output_stream: "b_beside"
}
"""


def test_a_native_node_between_ours_does_its_work() -> None:
    definition = runs.load(VEILED)
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    run = runs.Run(definition)
    run.feed("a", ImageFrame(ImageFormat.SRGB, pixels), at=7)
    run.feed("b", FRAME, at=7)
    run.close()
    definition.unload()
    assert run.error is None
    (veiled,) = run.outputs["veiled"]
    assert veiled.timestamp == 7
    np.testing.assert_array_equal(veiled.payload.pixels[..., :3], pixels)
    assert (veiled.payload.pixels[..., 3] == 200).all()


def test_bounds_go_through_native_code() -> None:
    definition = runs.load(VEILED)
    run = runs.Run(definition)
    run.feed("b", FRAME, at=1)
    run.feed("a", FRAME, at=5)
    # Only now is it known that `a`, and so the native node, has nothing at 1.
    assert until(lambda: run.outputs["b_beside"])
    assert run.outputs["b_beside"][0].timestamp == 1
    run.close()
    definition.unload()
    assert run.error is None


def test_what_waits_in_native_code_for_its_partner_comes_out_with_it() -> None:
    definition = runs.load(graphs.SMOOTHED)
    run = runs.Run(definition)
    for at in range(200):
        run.feed("points", POINTS, at)
    for at in range(200):
        run.feed("frame", FRAME, at)
    run.close()
    definition.unload()
    assert run.error is None
    assert [each.timestamp for each in run.outputs["smooth"]] == [*range(200)]


def test_input_that_native_code_could_fall_over_fails_the_run_and_says_why() -> None:
    definition = runs.load(graphs.SMOOTHED)
    run = runs.Run(definition)
    run.feed("points", POINTS * np.nan, 0)
    run.join()
    definition.unload()
    assert run.error is not None
    assert '"points": expected finite numbers' in run.error.text


def test_an_error_of_native_code_is_the_runs_and_the_worker_ends() -> None:
    definition = runs.load(graphs.SMOOTHED)
    run = runs.Run(definition)
    run.feed("points", POINTS[:, :2], 0)  # not a multiple of the number of points
    run.feed("frame", FRAME, 0)
    run.close()
    definition.unload()
    assert run.error is None or 'node "TensorConverter' in run.error.text


def test_native_code_judges_the_graph_at_load() -> None:
    wrong = graphs.SMOOTHED.replace("NORM_LANDMARKS:landmarks", "POINTS:landmarks")
    with pytest.raises(ServingError) as error:
        runs.load(wrong)
    assert error.value.details.startswith("graph.pbtxt:5: node ")
    assert '"POINTS" index 0 was not expected' in error.value.details


def test_a_type_that_cannot_leave_native_code_is_an_error_at_load() -> None:
    text = """
    input_stream: "IMAGE:image"
    output_stream: "OVTENSOR:items"
    node { calculator: "FromImageCalculator" input_stream: "IMAGE:image"
           output_stream: "IMAGE_CPU:frame" }
    node { calculator: "SegmentationSmoothingCalculator" input_stream: "MASK:image"
           input_stream: "MASK_PREVIOUS:times" output_stream: "MASK_SMOOTHED:items" }
    node { calculator: "BeginLoopFloatCalculator" input_stream: "ITERABLE:list"
           output_stream: "ITEM:item" output_stream: "BATCH_END:times" }
    """
    with pytest.raises(ServingError):
        runs.load(text)


def test_islands_are_made_of_the_nodes_that_only_the_wheel_has() -> None:
    found = runs.formed(graphs.HANDS)
    assert [node.calculator for node in found.nodes] == [
        "GateCalculator",
        islands.ISLAND,
    ]

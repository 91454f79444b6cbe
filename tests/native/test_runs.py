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

CLONED = """
input_stream: "a"
input_stream: "b"
output_stream: "cloned"
output_stream: "b_beside"
node { calculator: "ToImageCalculator"
       input_stream: "IMAGE_CPU:a" output_stream: "IMAGE:image" }
node { calculator: "ImageCloneCalculator" input_stream: "image" output_stream: "clone" }
node { calculator: "FromImageCalculator"
       input_stream: "IMAGE:clone" output_stream: "IMAGE_CPU:cloned" }
node {
  calculator: "PassThroughCalculator"
  input_stream: "cloned"
  input_stream: "b"
  output_stream: "cloned_beside"
  output_stream: "b_beside"
}
"""


def nodes_of(text: str) -> list[str]:
    return [node.calculator for node in runs.formed(text).nodes]


def test_a_native_node_between_ours_does_its_work() -> None:
    assert islands.ISLAND in nodes_of(CLONED)
    definition = runs.load(CLONED)
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    run = runs.Run(definition)
    run.feed("a", ImageFrame(ImageFormat.SRGB, pixels), at=7)
    run.feed("b", FRAME, at=7)
    run.close()
    definition.unload()
    assert run.error is None
    (cloned,) = run.outputs["cloned"]
    assert cloned.timestamp == 7
    np.testing.assert_array_equal(cloned.payload.pixels, pixels)


def test_bounds_go_through_native_code() -> None:
    definition = runs.load(CLONED)
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


def test_a_type_that_cannot_cross_is_an_error_at_load() -> None:
    text = """
    input_stream: "rects"
    output_stream: "hands"
    node { calculator: "PassThroughCalculator"
           input_stream: "rects" output_stream: "passed" }
    node { calculator: "HandAssociationCalculator" input_stream: "BASE_RECTS:passed"
           input_stream: "RECTS:passed" output_stream: "hands"
           options { [mediapipe.HandAssociationCalculatorOptions.ext] {
             min_similarity_threshold: 0.5 } } }
    """
    with pytest.raises(ServingError) as error:
        runs.load(text)
    assert error.value.details == (
        'graph.pbtxt:6: node "HandAssociationCalculator": "passed": '
        "::std::vector<::mediapipe::NormalizedRect> cannot be made outside native code"
    )


def test_islands_are_made_of_the_nodes_that_only_the_wheel_has() -> None:
    assert nodes_of(graphs.HANDS) == ["GateCalculator", islands.ISLAND]

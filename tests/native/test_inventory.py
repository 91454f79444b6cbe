"""What the wheel has, as we say it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ovms_mp.core.errors import ServingError
from ovms_mp.native import inventory
from tests.native import runs

# An unknown name and a known one whose contract is not met fail with different words.
LIST = """
import json, sys
from ovms_mp.native.worker import load_bindings
bindings = load_bindings()
missing = []
for name in json.load(sys.stdin):
    config = bindings.validated_graph_config.ValidatedGraphConfig()
    try:
        config.initialize(graph_config='node { calculator: "%s" }' % name)
    except Exception as error:
        if "Unable to find Calculator" in str(error):
            missing.append(name)
json.dump(missing, sys.stdout)
"""


def test_the_wheel_registers_what_the_list_says(wheel: None) -> None:
    known = sorted(inventory.names())
    assert len(known) == 270
    asked = json.dumps([*known, "NoSuchCalculator"])
    answer = subprocess.run(
        [sys.executable, "-c", LIST],
        input=asked,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert json.loads(answer.stdout) == ["NoSuchCalculator"]


def test_options_of_native_calculators_are_read_without_the_wheel_being_imported(
    wheel: None,
) -> None:
    code = (
        "import sys\n"
        "from ovms_mp.native import inventory\n"
        "print(inventory.options('TensorsToDetectionsCalculator').DESCRIPTOR.full_name)"
        "\nassert 'mediapipe' not in sys.modules\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "mediapipe.TensorsToDetectionsCalculatorOptions"


@pytest.mark.parametrize(
    ("calculator", "options"),
    [
        ("ImageTransformationCalculator", "ImageTransformationCalculatorOptions"),
        ("SplitTensorVectorCalculator", "SplitVectorCalculatorOptions"),
        ("InferenceCalculatorCpu", "InferenceCalculatorOptions"),
        ("WarpAffineCalculatorCpu", "WarpAffineCalculatorOptions"),
        ("MultiLandmarksSmoothingCalculator", "LandmarksSmoothingCalculatorOptions"),
        (
            "mediapipe.tasks.TensorsToSegmentationCalculator",
            "tasks.TensorsToSegmentationCalculatorOptions",
        ),
        (
            "mediapipe.tasks.vision.hand_detector.HandDetectorGraph",
            "tasks.vision.hand_detector.proto.HandDetectorGraphOptions",
        ),
        (
            "ModelResourcesCalculator",
            "tasks.core.proto.ModelResourcesCalculatorOptions",
        ),
        ("ScoreCalibrationCalculator", "tasks.ScoreCalibrationCalculatorOptions"),
    ],
)
def test_a_calculator_has_the_options_of_its_family(
    wheel: None, calculator: str, options: str
) -> None:
    found = inventory.options(calculator)
    assert found is not None
    assert found.DESCRIPTOR.full_name == f"mediapipe.{options}"


@pytest.mark.parametrize("calculator", ["PassThroughCalculator", "NoSuchCalculator"])
def test_a_calculator_without_options_has_none(wheel: None, calculator: str) -> None:
    assert inventory.options(calculator) is None


@pytest.mark.skipif(not inventory.problem(), reason="the extra is installed")
@pytest.mark.parametrize(
    ("calculator", "more"),
    [
        ("LandmarksToMatrixCalculator", ""),
        (
            "InferenceCalculatorCpu",
            "options { [mediapipe.InferenceCalculatorOptions.ext] {} }",
        ),
        (
            "InferenceCalculatorCpu",
            "node_options { [type.googleapis.com/"
            "mediapipe.InferenceCalculatorOptions] {} }",
        ),
    ],
)
def test_without_the_extra_a_graph_that_needs_it_is_refused_by_name(
    calculator: str, more: str
) -> None:
    text = f"""
input_stream: "a"
node {{
  name: "x"
  calculator: "{calculator}"
  input_stream: "IMAGE:a"
  {more}
}}"""
    with pytest.raises(ServingError) as error:
        runs.formed(text)
    assert error.value.details == (
        f'graph.pbtxt:3: node "x": "{calculator}" is native: '
        "it needs the extra ovms_mp[native]"
    )

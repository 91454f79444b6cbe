"""Labels of detections are in a file beside the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovms_mp.core.errors import ServingError
from ovms_mp.formats.detection import Box, Detection
from tests.unit.calculators.support import GraphOf

NAMED = """
input_stream: "in" output_stream: "out"
node { calculator: "DetectionLabelIdToTextCalculator" input_stream: "in"
       output_stream: "out" options {
  [mediapipe.DetectionLabelIdToTextCalculatorOptions.ext] {
    label_map_path: "PATH" } } }
"""


def named(folder: Path, ids: tuple[int, ...], path: str = "labels.txt") -> Any:
    run = GraphOf(NAMED.replace("PATH", path), base_path=folder)
    run.start()
    run.feed("in", [Detection(Box(0, 0, 1, 1), (0.5,) * len(ids), ids)], 0)
    run.close()
    assert run.error is None
    ((_, (found,)),) = run.outputs["out"]
    return found


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_line_of_a_label_is_its_name(tmp_path: Path, ending: str):
    """With a line that is empty, and names with blanks, as in OVMS's own file."""
    text = f"???\nperson\n\ntraffic light{ending}"
    (tmp_path / "labels.txt").write_bytes(text.encode())
    assert named(tmp_path, (1,)).labels == ("person",)
    assert named(tmp_path, (2,)).labels == ("",)
    found = named(tmp_path, (3, 4))  # of 4 there is no line
    assert found.labels == ("traffic light",)
    assert found.label_ids == ()
    assert named(tmp_path, (4,)).label_ids == (4,)


def test_a_path_may_be_absolute(tmp_path: Path):
    (tmp_path / "elsewhere").write_text("face")
    assert named(Path(), (0,), str(tmp_path / "elsewhere")).labels == ("face",)


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (None, '"labels.txt" cannot be read'),
        (b"", '"labels.txt" is an empty file'),
        (b"\xff\xfe\x00", '"labels.txt" cannot be read'),
    ],
)
def test_a_file_that_is_none_is_told_when_the_graph_is_loaded(
    tmp_path: Path, contents: bytes | None, said: str
):
    if contents is not None:
        (tmp_path / "labels.txt").write_bytes(contents)
    with pytest.raises(ServingError, match=said) as refused:
        GraphOf(NAMED.replace("PATH", "labels.txt"), base_path=tmp_path)
    assert str(tmp_path) not in str(refused.value)

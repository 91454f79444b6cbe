"""Laws of the graph of codes: a calculator that is no part of the server reads them, as a
folder or as a package, and tritonclient hears what they say.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton
import zxingcpp
from numpy.typing import NDArray
from zxingcpp import BarcodeFormat

from graphs import assets, repository
from tests.graphs.in_process import Pixels, rgb
from tests.graphs.over_the_wire import serving
from tests.wire.servers import Process, Server

GRAPH = "barcodes"
PACKAGE = Path(repository.__file__).parent / GRAPH / "calculators"

pytestmark = pytest.mark.timeout(180)


class Label(NamedTuple):
    """A code on paper, and the corners where it lies in a frame."""

    format: BarcodeFormat
    text: str
    corners: list[tuple[int, int]]


LABELS = [
    Label(
        BarcodeFormat.QRCode,
        "https://example.com/17",
        [(30, 50), (190, 30), (205, 195), (40, 210)],
    ),
    Label(
        BarcodeFormat.EAN13,
        "4006381333931",
        [(650, 90), (900, 90), (900, 210), (650, 210)],
    ),
    Label(
        BarcodeFormat.DataMatrix,
        "BEANS 250 G",
        [(70, 440), (200, 470), (170, 600), (40, 565)],
    ),
    Label(
        BarcodeFormat.Code128,
        "SPOON-0042",
        [(610, 545), (920, 545), (920, 635), (610, 635)],
    ),
]


def put(frame: Pixels, label: Label) -> Pixels:
    """The frame with the label on it, on white paper, seen from the side."""
    code = zxingcpp.create_barcode(label.text, label.format)
    paper = cv2.cvtColor(np.array(code.to_image(scale=6)), cv2.COLOR_GRAY2RGB)
    height, width, _ = paper.shape
    whole = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    turn = cv2.getPerspectiveTransform(whole, np.array(label.corners, np.float32))
    size = frame.shape[1], frame.shape[0]
    seen = cv2.warpPerspective(paper, turn, size, flags=cv2.INTER_AREA)
    is_paper = cv2.warpPerspective(np.full_like(paper, 255), turn, size)
    return np.where(is_paper > 127, seen, frame).astype(np.uint8)


def table() -> Pixels:
    """A photo of a table, with a cup, and labels all around."""
    photo = cv2.imread(str(assets.fetch("coffee.png")))
    assert photo is not None
    frame = cv2.resize(rgb(photo), (960, 680), interpolation=cv2.INTER_CUBIC)
    for label in LABELS:
        frame = put(frame.astype(np.uint8), label)
    return cv2.GaussianBlur(frame, (3, 3), 0).astype(np.uint8)


def seen(address: str, frame: NDArray[Any]) -> dict[str, Any]:
    """The outputs for one frame."""
    with triton.InferenceServerClient(address) as client:
        tensor = triton.InferInput("frame", [*frame.shape], "UINT8")
        answer = client.infer(GRAPH, [tensor.set_data_from_numpy(frame)])
    assert answer is not None
    names = [each.name for each in answer.get_response().outputs]
    return {name: answer.as_numpy(name) for name in names}


def texts(array: NDArray[Any]) -> list[str]:
    return [each.decode() for each in array.tolist()]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("barcodes"), GRAPH) as server:
        yield server


def test_every_label_on_a_table_is_read(server: Server):
    """From the top to the bottom, whatever its kind, and where it is."""
    frame = table()
    found = seen(server.address, frame)
    assert texts(found["texts"]) == [each.text for each in LABELS]
    assert texts(found["formats"]) == ["QRCode", "EAN13", "DataMatrix", "Code128"]
    corners = found["corners"]
    assert (corners.dtype, corners.shape) == (np.float32, (4, 4, 2))
    for label, places in zip(LABELS, corners * (960, 680), strict=True):
        paper = np.array(label.corners)
        # On its paper, around its middle.
        assert cv2.contourArea(places.astype(np.float32)) > 0.25 * cv2.contourArea(
            paper
        )
        np.testing.assert_allclose(places.mean(axis=0), paper.mean(axis=0), atol=12)


def test_what_was_read_is_drawn_on_the_frame(server: Server):
    frame = table()
    annotated = seen(server.address, frame)["annotated"]
    is_green = (annotated == [0, 170, 70]).all(axis=2)
    assert is_green.sum() > 2000
    # Nothing but lines and words: the cup in the middle is as it was.
    assert not is_green[:, 420:560].any()
    np.testing.assert_array_equal(annotated[:, 420:560], frame[:, 420:560])


def test_a_grey_frame_says_the_same(server: Server):
    grey = cv2.cvtColor(table(), cv2.COLOR_RGB2GRAY)[..., None]
    assert texts(seen(server.address, grey)["texts"]) == [each.text for each in LABELS]


@pytest.mark.parametrize("shape", [(1, 1, 3), (48, 64, 3), (2, 500, 3), (30, 20, 1)])
def test_a_frame_without_a_code_comes_back_as_it_was(
    server: Server, shape: tuple[int, ...]
):
    frame = np.full(shape, 200, np.uint8)
    found = seen(server.address, frame)
    assert (found["annotated"] == frame).all()
    assert found["texts"].size == found["formats"].size == 0
    assert found["corners"].shape == (0, 4, 2)


def test_its_package_brings_the_calculator_to_every_server(tmp_path: Path):
    """Installed by its entry point, without a flag, beside ours."""
    build = ("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    subprocess.run([sys.executable, *build], cwd=PACKAGE, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    repository.add_graph(tmp_path / "models", GRAPH)
    flags = ("--config_path", str(tmp_path / "models" / "config.json"))
    paths = (str(tmp_path / "site"), os.environ.get("PYTHONPATH"))
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with Process(tmp_path, *flags, environment=environment) as process:
        found = seen(process.ready(), table())
    assert texts(found["texts"]) == [each.text for each in LABELS]


def test_a_server_without_it_says_what_is_missing(tmp_path: Path):
    from tests.graphs.in_process import serving as served

    repository.add_graph(tmp_path, GRAPH)
    with (
        pytest.raises(AssertionError, match="BarcodeCalculator"),
        served(tmp_path),
    ):
        pass

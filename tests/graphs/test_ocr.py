"""Laws of the OCR graph: what is written is read, wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from graphs import assets, repository
from ovms_mp.core.errors import ServingError
from ovms_mp.core.messages import InferRequest, InputTensor
from ovms_mp.graph.registry import Registry
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.repository.snapshot import Scanner
from ovms_mp.servable.calculators import Calculators
from ovms_mp.servable.catalog import Catalog
from ovms_mp.servable.loading import Loader
from ovms_mp.servable.reconciler import Reconciler
from ovms_mp.telemetry.metrics import Metrics
from tests.graphs.in_process import rgb

pytestmark = pytest.mark.timeout(300)

GRAPH = "ocr"
LINES = ["OpenVINO Model Server", "Invoice 2026-11-22 $ 1,234.50", "Total: 42 items"]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """Served with the calculators of the graph's own folder."""
    folder = tmp_path_factory.mktemp("repository")
    repository.add_graph(folder, GRAPH)

    def registry() -> Registry:
        found = Registry.installed()
        found.add_folder(folder / "calculators")
        return found

    engine, metrics = OpenVINOEngine(), Metrics.off()
    catalog = Catalog(metrics)
    with ThreadPoolExecutor(4) as pool:
        loader = Loader(catalog, engine=engine, submit=pool.submit, metrics=metrics)
        reconciler = Reconciler(catalog, loader, Calculators(registry), metrics)
        report = reconciler.apply(Scanner(folder / "config.json").scan())
        assert report.is_ok, report
        yield catalog
        reconciler.close()
    catalog.close()
    engine.close()


def read(
    catalog: Catalog, frame: NDArray[np.uint8]
) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32]]:
    """Texts, scores and boxes."""
    tensor = InputTensor("frame", "UINT8", frame.shape, raw=frame.tobytes())
    request = InferRequest(GRAPH, inputs=(tensor,), raw_count=1)
    response = catalog.infer(request).result(timeout=60)
    outputs = {each.name: each for each in response.outputs}
    arrays: list[Any] = [
        np.frombuffer(outputs[name].data, np.float32).reshape(outputs[name].shape)
        for name in ("scores", "boxes")
    ]
    data, texts = bytes(outputs["texts"].data), list[str]()
    while data:
        end = 4 + int.from_bytes(data[:4], "little")
        texts.append(data[4:end].decode())
        data = data[end:]
    return texts, arrays[0], arrays[1]


def written(turn: float = 0) -> NDArray[np.uint8]:
    """Lines on paper, turned counterclockwise by some degrees."""
    paper = np.full((420, 900, 3), 255, np.uint8)
    for place, line in enumerate(LINES):
        start = (60, 110 + place * 110)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(paper, line, start, font, 1.3, (20, 20, 20), 3, cv2.LINE_AA)
    matrix = cv2.getRotationMatrix2D((450, 210), turn, 1)
    turned = cv2.warpAffine(paper, matrix, (900, 420), borderValue=(255, 255, 255))
    return turned.astype(np.uint8)


@pytest.mark.parametrize("turn", [0, 8, -8])
def test_what_is_written_is_read_line_by_line(catalog: Catalog, turn: float):
    texts, scores, boxes = read(catalog, written(turn))
    assert texts == LINES
    assert (scores > 0.9).all()
    assert boxes.shape == (3, 5)
    assert (np.diff(boxes[:, 1]) > 0.1).all()
    np.testing.assert_allclose(np.degrees(boxes[:, 4]), -turn, atol=2)


def test_a_page_of_a_book_is_read(catalog: Catalog):
    page = cv2.imread(str(assets.fetch("page.png")))
    assert page is not None
    texts, _, _ = read(catalog, rgb(page))
    assert texts[0] == "Region-based segmentation"
    assert "Let us first determine markers of the coins and the" in texts


@pytest.mark.parametrize("shape", [(1, 1, 3), (100, 120, 3), (3, 900, 3)])
def test_an_image_without_a_text_has_none(catalog: Catalog, shape: tuple[int, ...]):
    texts, scores, boxes = read(catalog, np.full(shape, 120, np.uint8))
    assert (texts, scores.shape, boxes.shape) == ([], (0,), (0, 5))


def test_a_gray_image_is_told_what_the_detector_expects(catalog: Catalog):
    with pytest.raises(ServingError, match=r"Actual: \(1,736,736,1\)"):
        read(catalog, np.full((40, 30, 1), 120, np.uint8))


def test_a_graph_without_its_calculators_says_which_is_missing(tmp_path: Path):
    from tests.graphs.in_process import serving

    repository.add_graph(tmp_path, GRAPH)
    with (
        pytest.raises(AssertionError, match="TextBoxesCalculator"),
        serving(tmp_path),
    ):
        pass

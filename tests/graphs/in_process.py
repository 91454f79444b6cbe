"""The graphs of `graphs/`, served without a wire: streams in the test's process."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ovms_mp.core.errors import ServingError
from ovms_mp.core.messages import InferRequest, InferResponse, InputTensor
from ovms_mp.core.threads import Threads
from ovms_mp.graph.registry import Registry
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.repository.snapshot import Scanner
from ovms_mp.servable.calculators import Calculators
from ovms_mp.servable.catalog import Catalog
from ovms_mp.servable.loading import Loader
from ovms_mp.servable.reconciler import Reconciler
from ovms_mp.telemetry.metrics import Metrics

ANSWERS_WITHIN = 30.0  # seconds

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Answer:
    """What came back for one frame."""

    timestamp: int
    annotated: Pixels
    tracks: NDArray[np.float32]

    @property
    def ids(self) -> list[int]:
        return [int(row[6]) for row in self.tracks]


@contextmanager
def serving(repository: Path) -> Iterator[Catalog]:
    """Everything that `config.json` in `repository` names; fails if some of it does."""
    engine = OpenVINOEngine()
    metrics = Metrics.off()
    catalog = Catalog(metrics)
    with closing(Threads("compute", 4)) as threads:
        loader = Loader(catalog, engine=engine, submit=threads.submit, metrics=metrics)
        calculators = Calculators(Registry.installed)
        reconciler = Reconciler(catalog, loader, calculators, metrics)
        wanted = Scanner(repository / "config.json").scan()
        report = reconciler.apply(wanted)
        assert report.is_ok, report
        assert {*wanted.models, *wanted.graphs} == set(catalog.names())
        yield catalog
        reconciler.close()
    catalog.close()
    engine.close()


class Viewer:
    """A client with one stream on a graph that takes `frame`; a StreamSink."""

    def __init__(self, catalog: Catalog, graph: str) -> None:
        self._catalog = catalog
        self._graph = graph
        self._room: queue.Queue[None] = queue.Queue()
        self._said: queue.Queue[InferResponse | ServingError | None] = queue.Queue()
        self._session: Any = None

    def send(self, frame: Pixels) -> None:
        """Send a frame as soon as the session takes it."""
        tensor = InputTensor("frame", "UINT8", frame.shape, raw=frame.tobytes())
        request = InferRequest(self._graph, inputs=(tensor,), raw_count=1)
        if self._session is None:
            self._session = self._catalog.open_stream(request, self)
        else:
            self._room.get(timeout=ANSWERS_WITHIN)
            self._session.feed(request)

    def finish(self) -> list[Answer]:
        """No more frames: everything that came back, in the order it came."""
        self._session.half_close()
        outputs: dict[int, dict[str, NDArray[Any]]] = {}
        while (said := self._said.get(timeout=ANSWERS_WITHIN)) is not None:
            if isinstance(said, ServingError):
                raise said
            timestamp = said.parameters["OVMS_MP_TIMESTAMP"]
            assert isinstance(timestamp, int)
            for each in said.outputs:
                dtype = {"UINT8": np.uint8, "FP32": np.float32}[each.datatype]
                array = np.frombuffer(each.data, dtype).reshape(each.shape)
                outputs.setdefault(timestamp, {})[each.name] = array
        return [
            Answer(timestamp, arrays["annotated"], arrays["tracks"])
            for timestamp, arrays in outputs.items()
        ]

    def response(self, response: InferResponse) -> None:
        self._said.put(response)

    def error(self, error: ServingError, request: InferRequest) -> None:
        self._said.put(error)

    def room(self) -> None:
        self._room.put(None)

    def finished(self, error: ServingError | None) -> None:
        self._said.put(error)


def show(catalog: Catalog, graph: str, frames: Iterable[Pixels]) -> list[Answer]:
    """Stream frames through a graph."""
    viewer = Viewer(catalog, graph)
    for frame in frames:
        viewer.send(frame)
    return viewer.finish()


def clip(path: Path, first: int, count: int) -> list[Pixels]:
    """Frames of a video, RGB."""
    capture = cv2.VideoCapture(str(path))
    for _ in range(first):
        assert capture.grab()
    frames = [capture.read() for _ in range(count)]
    capture.release()
    assert all(is_there for is_there, _ in frames)
    return [rgb(frame) for _, frame in frames]


def rgb(picture: NDArray[Any]) -> Pixels:
    """What OpenCV reads, as a graph takes it."""
    return np.ascontiguousarray(picture[:, :, ::-1], np.uint8)

"""Frames through a graph with one IMAGE input, as one stream of a client's; and graphs
that a test writes itself.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphs import repository
from ovms_mp.core.errors import ServingError
from ovms_mp.core.messages import InferRequest, InferResponse, InputTensor, Parameter
from ovms_mp.servable.catalog import Catalog
from tests.graphs.in_process import serving

_DTYPES = {"UINT8": np.uint8, "FP32": np.float32}


class _Client:
    """A StreamSink."""

    def __init__(self, catalog: Catalog, graph: str, name: str) -> None:
        self._catalog = catalog
        self._graph = graph
        self._name = name
        self._room: queue.Queue[None] = queue.Queue()
        self._said: queue.Queue[InferResponse | ServingError | None] = queue.Queue()
        self._session: Any = None

    def send(self, frame: NDArray[Any], parameters: Mapping[str, Parameter]) -> None:
        datatype = frame.dtype.name.upper()
        tensor = InputTensor(self._name, datatype, frame.shape, raw=frame.tobytes())
        request = InferRequest(
            self._graph, inputs=(tensor,), raw_count=1, parameters=parameters
        )
        if self._session is None:
            self._session = self._catalog.open_stream(request, self)
        else:
            self._room.get(timeout=60)
            self._session.feed(request)

    def finish(self) -> dict[int, dict[str, Any]]:
        self._session.half_close()
        found: dict[int, dict[str, Any]] = {}
        while (said := self._said.get(timeout=60)) is not None:
            if isinstance(said, ServingError):
                raise said
            at = said.parameters["OVMS_MP_TIMESTAMP"]
            assert isinstance(at, int)
            for each in said.outputs:
                dtype = _DTYPES[each.datatype]
                array = np.frombuffer(each.data, dtype).reshape(each.shape)
                found.setdefault(at, {})[each.name] = array
        return found

    def response(self, response: InferResponse) -> None:
        self._said.put(response)

    def error(self, error: ServingError, request: InferRequest) -> None:
        self._said.put(error)

    def room(self) -> None:
        self._room.put(None)

    def finished(self, error: ServingError | None) -> None:
        self._said.put(error)


def streamed(
    catalog: Catalog,
    graph: str,
    frames: Sequence[NDArray[Any]],
    name: str = "frame",
    every: int | None = None,
    **parameters: Parameter,
) -> list[dict[str, Any]]:
    """For each frame the outputs that came for it. With `every`, so many microseconds
    are between two frames and before the first; `parameters` are those of the first
    request. Raises ServingError.
    """
    client = _Client(catalog, graph, name)
    times = list(range(len(frames)))
    told: dict[str, Parameter] = dict(parameters)
    if every is not None:
        times = [every * (number + 1) for number in times]
    for at, frame in zip(times, frames, strict=True):
        if every is not None:
            told["OVMS_MP_TIMESTAMP"] = at
        client.send(frame, told)
        told = {}
    answers = client.finish()
    assert set(answers) <= set(times)
    return [answers.get(at, {}) for at in times]


@contextmanager
def served_graph(
    folder: Path,
    pbtxt: str,
    models: Mapping[str, str],
    files: Mapping[str, str] | None = None,
) -> Iterator[Catalog]:
    """A graph `graph`. `models` says what the graph calls a model of `repository`;
    `files` lie beside it.
    """
    home = folder / "graph"
    home.mkdir(parents=True)
    (home / "graph.pbtxt").write_text(pbtxt)
    for name, text in (files or {}).items():
        (home / name).write_text(text)
    entries: list[Any] = []
    for name, model in models.items():
        repository.add_model(home, model)
        precise = {"INFERENCE_PRECISION_HINT": "f32"}
        config = {"name": name, "base_path": model, "plugin_config": precise}
        entries.append({"config": config})
    (home / "subconfig.json").write_text(json.dumps({"model_config_list": entries}))
    config = {"model_config_list": [], "mediapipe_config_list": [{"name": "graph"}]}
    (folder / "config.json").write_text(json.dumps(config))
    with serving(folder) as catalog:
        yield catalog

"""A graph of `graphs/` served as a whole, and videos streamed through it by a client."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ovms_mp_clients import Client
from ovms_mp_clients.tensors import Array

from graphs import repository
from tests.graphs.in_process import Answer, Pixels
from tests.wire import servers

WINDOW = 3  # frames in flight


@contextmanager
def serving(folder: Path, graph: str) -> Iterator[servers.Server]:
    """A server of one graph, made in `folder`, with the calculators of its own."""
    repository.add_graph(folder, graph)
    own = folder / "calculators" if (folder / "calculators").is_dir() else None
    with servers.serving(folder / "config.json", calculators_path=own) as server:
        assert server.app.catalog.is_servable_ready(graph, "")
        yield server


def show(address: str, graph: str, frames: Sequence[Pixels]) -> list[Answer]:
    """What comes back for frames, in the order in which it came."""
    outputs: dict[int, dict[str, Any]] = {}
    with Client(address) as client, client.stream(graph, window=WINDOW) as stream:

        def send() -> None:
            for frame in frames:
                stream.send({"frame": frame}, timeout=30)
            stream.half_close()

        sender = threading.Thread(target=send)
        sender.start()
        for result in stream:
            assert result.timestamp is not None
            outputs.setdefault(result.timestamp, {}).update(result.outputs)
        sender.join()
    return [_answer(timestamp, each) for timestamp, each in outputs.items()]


def _answer(timestamp: int, outputs: dict[str, Array]) -> Answer:
    annotated = np.asarray(outputs["annotated"], np.uint8)
    return Answer(timestamp, annotated, np.asarray(outputs["tracks"], np.float32))

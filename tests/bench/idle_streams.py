"""What an open stream costs that nobody uses: above what the transport takes for it.

python -m tests.bench.idle_streams
"""

from __future__ import annotations

import gc
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from ovms_mp.core.messages import InferRequest, InferResponse, InputTensor
from ovms_mp.servable.base import StreamSession
from tests.bench.models import graph_around
from tests.graphs.in_process import serving
from tests.unit.inference import tiny

STREAMS: Final = 1_000
KIB: Final = 30.0


class _Reader:
    """A StreamSink that counts."""

    def __init__(self) -> None:
        self.answers = 0
        self.is_finished = False

    def response(self, response: InferResponse) -> None:
        self.answers += 1

    def error(self, error: Exception, request: InferRequest) -> None:
        raise error

    def room(self) -> None: ...

    def finished(self, error: Exception | None) -> None:
        self.is_finished = True


def rows(rounds: int = 1) -> list[dict[str, Any]]:
    """One row: KiB of a stream on a graph of one inference, of 30 that it may take.

    Each stream has been used: its first request is answered. Sessions are opened as the
    frontend opens them; what is traced is memory of Python's.
    """
    taken = [_taken() for _ in range(rounds)]
    kib = sorted(taken)[len(taken) // 2] / 1024
    return [
        {
            "case": "an idle stream, above the transport's own",
            "ours": f"{kib:,.1f} KiB",
            "calibration": f"{KIB:,.1f} KiB",
            "ratio": round(kib / KIB, 2),
            "gate": "1",
        }
    ]


def _taken() -> float:
    with _catalog() as catalog:
        request = InferRequest(
            "graph",
            inputs=(InputTensor("in", "FP32", (1, 10), raw=bytes(40)),),
            raw_count=1,
        )
        open_: list[tuple[StreamSession, _Reader]] = []

        def more(count: int) -> None:
            for _ in range(count):
                sink = _Reader()
                open_.append((catalog.open_stream(request, sink), sink))
            _await(lambda: all(sink.answers for _, sink in open_))

        more(10)  # what is made once is none of a stream's
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        more(STREAMS)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        for session, _ in open_:
            session.cancel()
        return taken / STREAMS


@contextmanager
def _catalog() -> Iterator[Any]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "tiny" / "1").mkdir(parents=True)
        tiny.save(folder / "tiny" / "1", tiny.add_one())
        (folder / "graph").mkdir()
        (folder / "graph" / "graph.pbtxt").write_text(graph_around("tiny", "x", "y"))
        (folder / "config.json").write_text(
            '{"model_config_list": [{"config": {"name": "tiny", "base_path": "tiny"}}],'
            ' "mediapipe_config_list": [{"name": "graph"}]}'
        )
        yield stack.enter_context(serving(folder))


def _await(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


if __name__ == "__main__":
    for row in rows():
        print(row)

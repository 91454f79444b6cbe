"""What is asked of a server, and how many of it at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ovms_mp_protos import kserve

from tests.bench.client import Work
from tests.bench.fleet import share
from tests.bench.models import (
    EFFICIENTNET,
    FRAME,
    IMAGES,
    NSFW,
    PERCEPTRON,
    TINY,
    Model,
)


@dataclass(frozen=True, slots=True)
class Case:
    """`in_flight` requests at a time in all, if `streams` on as many streams. `opens` a
    stream for each request. `clients` processes share it. `is_graph` asks the graph of
    one inference instead of the model.
    """

    name: str
    model: Model
    in_flight: int
    streams: int = 0
    clients: int = 2
    opens: bool = False
    is_graph: bool = False

    @property
    def is_stream(self) -> bool:
        """It needs ModelStreamInfer."""
        return self.opens or self.streams > 0

    def work(self, address: tuple[str, int], seconds: float) -> list[Work]:
        """For each client."""
        work = Work(
            address,
            kserve.MODEL_STREAM_INFER if self.is_stream else kserve.MODEL_INFER,
            self.model.message(to_graph=self.is_graph),
            seconds,
            self.in_flight // self.streams if self.streams else self.in_flight,
            self.streams,
        )
        return share(work, self.clients)


TINY_1: Final = Case("tiny, unary, 1 in flight", TINY, 1, clients=1)
TINY_16: Final = Case("tiny, unary, 16 in flight", TINY, 16)
TINY_STREAMS: Final = Case("tiny, 4 streams, 16 in flight", TINY, 16, 4)
TINY_GRAPH_1: Final = Case(
    "tiny in a graph, unary, 1 in flight", TINY, 1, clients=1, is_graph=True
)
EFFICIENTNET_8: Final = Case("EfficientNet-Lite0, unary, 8 in flight", EFFICIENTNET, 8)
NSFW_8: Final = Case("open_nsfw, unary, 8 in flight", NSFW, 8)
PERCEPTRON_16: Final = Case("perceptron, unary, 16 in flight", PERCEPTRON, 16)
IMAGES_16: Final = Case("EfficientNet-Lite0, unary, 16 in flight", IMAGES, 16)
FRAME_UNARY: Final = Case("6.2 MB there and back, unary, 2 in flight", FRAME, 2)
FRAME_STREAM: Final = Case("6.2 MB there and back, stream, 2 in flight", FRAME, 2, 1)
UNARY: Final = tuple(
    Case(f"{model.name}, unary, {n} in flight (beside OpenVINO)", model, n)
    for model in (TINY, EFFICIENTNET, FRAME)
    for n in (1, 8, 32)
)
STREAMS: Final = tuple(
    Case(
        f"tiny in a graph, {n} stream{'s' * (n > 1)}, 1 in flight on each",
        TINY,
        n,
        n,
        is_graph=True,
    )
    for n in (1, 8, 64)
)
OPEN_CLOSE: Final = Case(
    "tiny in a graph, a stream for each request, 4 at a time",
    TINY,
    4,
    opens=True,
    is_graph=True,
)

"""The same graph with the same packets in MediaPipe's runtime and in ours."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import Message
from ovms_mp_protos import graph as protos

from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.formats import messages
from tests.differential.oracle import Oracle
from tests.unit.calculators.support import GraphOf

Event = tuple[str, Any, int]
"""Stream, payload of ours, timestamp."""


@dataclass(frozen=True)
class Outcome:
    """What came out of each stream, by timestamp: values of ours, from both."""

    found: Mapping[str, Mapping[int, Any]]
    error: str | None

    def __getitem__(self, stream: str) -> Mapping[int, Any]:
        assert self.error is None, self.error
        return self.found[stream]


class NativeGraphs:
    """MediaPipe, in a process of its own. `kinds` says what streams carry: floats, image,
    mask (an image of floats), float, bool, proto:NAME, protos:NAME; `sides` the same for
    output side packets.
    """

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def run(
        self,
        pbtxt: str,
        events: Sequence[Event],
        kinds: Mapping[str, str],
        sides: Mapping[str, str] | None = None,
    ) -> Outcome:
        every = {**kinds, **(sides or {})}
        case = {
            "pbtxt": pbtxt,
            "events": [[name, *_written(value), at] for name, value, at in events],
            "outputs": _without_names(kinds),
            "sides": _without_names(sides or {}),
        }
        answer = self._oracle.ask(case)
        return Outcome(
            {
                name: {at: _read(every[name], value) for at, value in packets}
                for name, packets in answer["found"].items()
            },
            answer["error"],
        )


def ours(pbtxt: str, events: Sequence[Event]) -> Outcome:
    """In the caller's thread."""
    graph = GraphOf(pbtxt)
    graph.start()
    for name, value, at in events:
        graph.feed(name, value, at)
    graph.close()
    found = {
        name: {each.timestamp: each.payload for each in packets}
        for name, packets in graph.outputs.items()
    }
    return Outcome(found, graph.error.text if graph.error else None)


def image(pixels: Any) -> ImageFrame:
    """Of 1, 3 or 4 channels."""
    formats = {1: ImageFormat.GRAY8, 3: ImageFormat.SRGB, 4: ImageFormat.SRGBA}
    return ImageFrame(formats[pixels.shape[2]], pixels)


def _without_names(kinds: Mapping[str, str]) -> dict[str, str]:
    return {name: kind.partition(":")[0] for name, kind in kinds.items()}


def _written(value: Any) -> tuple[str, Any]:
    if isinstance(value, int):
        return "int", value
    if isinstance(value, float):
        return "float", value
    if isinstance(value, list):
        return "ints", value
    if isinstance(value, ImageFrame):
        data = base64.b64encode(value.pixels.tobytes()).decode()
        return "image", [value.format.name, value.pixels.shape, data]
    if isinstance(value, np.ndarray):
        data = base64.b64encode(value.tobytes()).decode()
        return "matrix", [value.shape, data]
    is_message = isinstance(value, Message)
    message = value if is_message else messages.to_message(value, protos.message_class)
    data = base64.b64encode(message.SerializeToString()).decode()
    return "proto", [message.DESCRIPTOR.full_name, data]


def _read(kind: str, value: Any) -> Any:
    kind, _, name = kind.partition(":")
    if kind == "floats":
        return np.frombuffer(base64.b64decode(value), np.float32)
    if kind in {"image", "mask"}:
        shape, data = value
        dtype = np.uint8 if kind == "image" else np.float32
        return np.frombuffer(base64.b64decode(data), dtype).reshape(shape)
    if kind in {"float", "bool"}:
        return value
    parse = protos.message_class(name).FromString
    if kind == "protos":
        return [messages.from_message(parse(base64.b64decode(each))) for each in value]
    return messages.from_message(parse(base64.b64decode(value)))

"""All graphs of `graphs/` that take pictures, in one server; what each takes, and what
its answers look like.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from graphs import repository
from tests.vision import face_graphs
from tests.wire.servers import Server, serving

Pixels = NDArray[Any]
Answer = Mapping[str, Any]

WITHIN: Final = 120.0  # seconds; a busy machine, and pictures of 72 MB

FRAME: Final = "as the frame"
"""In place of a shape: that of what came in."""
IN_COLOUR: Final = "as the frame, in colour"
"""The same, where grey becomes RGB."""
ANY: Final = -1


@dataclass(frozen=True)
class Output:
    """What a graph promises of one."""

    datatype: str
    shape: tuple[int, ...] | str

    def fits(self, array: Any, frame: tuple[int, ...]) -> bool:
        """Of a frame of that shape; of things that may not be there also none."""
        if self.shape == FRAME:
            expected = frame
        elif self.shape == IN_COLOUR:
            expected = (*frame[:2], max(3, frame[2]))
        elif isinstance(self.shape, str):
            return False
        elif self.shape[0] != ANY and array.shape[:1] == (0,):
            expected = (0, *self.shape[1:])  # one body, or none
        else:
            expected = self.shape
        return len(array.shape) == len(expected) and all(
            size in {ANY, found}
            for size, found in zip(expected, array.shape, strict=True)
        )


_PICTURE: Final = Output("UINT8", FRAME)
_TRACKS: Final = Output("FP32", (ANY, 7))

GRAPHS: Final[Mapping[str, tuple[str, Mapping[str, Output]]]] = {
    "faces": ("frame", {"annotated": _PICTURE, "faces": Output("FP32", (ANY, 18))}),
    "emotions": (
        "frame",
        {
            "annotated": _PICTURE,
            "landmarks": Output("FP32", (ANY, 468, 5)),
            "emotions": Output("BYTES", (1,)),
        },
    ),
    "hands": (
        "frame",
        {
            "annotated": _PICTURE,
            "hands": Output("FP32", (ANY, 21, 5)),
            "hands_in_metres": Output("FP32", (ANY, 21, 5)),
            "handedness": Output("FP32", (ANY, 1, 2)),
        },
    ),
    "pose": (
        "frame",
        {
            "annotated": _PICTURE,
            "body": Output("FP32", (33, 5)),
            "body_in_metres": Output("FP32", (33, 5)),
        },
    ),
    "holistic": (
        "frame",
        {
            "annotated": _PICTURE,
            "body": Output("FP32", (33, 5)),
            "left_hand": Output("FP32", (21, 5)),
            "right_hand": Output("FP32", (21, 5)),
            "face": Output("FP32", (468, 5)),
        },
    ),
    "iris_tracking": ("first_input_video", {"output": _PICTURE}),
    "object_detection": ("input", {"output": Output("UINT8", (320, 320, ANY))}),
    "ocr": (
        "frame",
        {
            "texts": Output("BYTES", (ANY,)),
            "scores": Output("FP32", (ANY,)),
            "boxes": Output("FP32", (ANY, 5)),
        },
    ),
    "people_tracking": ("frame", {"annotated": _PICTURE, "tracks": _TRACKS}),
    "face_tracking": ("frame", {"annotated": _PICTURE, "tracks": _TRACKS}),
    "cameras": (
        "camera_0 camera_1 camera_2 camera_3",
        {
            **{f"tracks_{camera}": _TRACKS for camera in range(4)},
            "people": Output("INT64", (4,)),
            "wall": Output("UINT8", (720, 960, 3)),
        },
    ),
    "barcodes": (
        "frame",
        {
            "annotated": Output("UINT8", IN_COLOUR),
            "texts": Output("BYTES", (ANY,)),
            "formats": Output("BYTES", (ANY,)),
            "corners": Output("FP32", (ANY, 4, 2)),
        },
    ),
    "selfie": ("frame", {"mask": Output("FP32", (ANY, ANY, 1)), "blue": _PICTURE}),
}
"""By graph, what the inputs are called, and the outputs."""
_BRING_CALCULATORS: Final = frozenset({"barcodes", "cameras", "ocr"})

_SELFIE: Final = """
input_stream: "IMAGE:frame" output_stream: "IMAGE:0:mask" output_stream: "IMAGE:1:blue"
node { calculator: "SelfieSegmentationCpu" input_stream: "IMAGE:frame"
       output_stream: "SEGMENTATION_MASK:mask" }
node { calculator: "RecolorCalculator" input_stream: "IMAGE:frame"
       input_stream: "MASK:mask" output_stream: "IMAGE:blue"
       node_options { [type.googleapis.com/mediapipe.RecolorCalculatorOptions] {
         color { r: 0 g: 0 b: 255 } invert_mask: true } } }
"""


def add(folder: Path, *graphs: str) -> None:
    """Graphs of `GRAPHS`, with their models."""
    for name in graphs:
        if name != "selfie":
            repository.add_graph(folder, name)
            continue
        home = folder / name
        home.mkdir()
        (home / "graph.pbtxt").write_text(_SELFIE)
        entries: list[Any] = []
        for model in face_graphs.SELFIE_MODELS:
            repository.add_model(home, model)
            entries.append({"config": {"name": model, "base_path": model}})
        (home / "subconfig.json").write_text(json.dumps({"model_config_list": entries}))
    config = {
        "model_config_list": [],
        "mediapipe_config_list": [{"name": name} for name in graphs],
    }
    (folder / "config.json").write_text(json.dumps(config))


@contextmanager
def served(folder: Path, *graphs: str) -> Iterator[Server]:
    """What was added, all of it ready."""
    more: dict[str, Any] = {}
    if not _BRING_CALCULATORS.isdisjoint(graphs):
        more["calculators_path"] = folder / "calculators"
    with serving(folder / "config.json", **more) as server:
        not_ready = [
            e for e in graphs if not server.app.catalog.is_servable_ready(e, "")
        ]
        assert not not_ready, server.log
        yield server


def tensors(graph: str, frame: Pixels | bytes) -> list[triton.InferInput]:
    """A frame, or a file with a picture, as a request of that graph has it: at each of
    its inputs.
    """
    names, _ = GRAPHS[graph]
    return [_tensor(name, frame) for name in names.split()]


def _tensor(name: str, frame: Pixels | bytes) -> triton.InferInput:
    if isinstance(frame, bytes):
        found = triton.InferInput(name, [1], "BYTES")
        found.set_data_from_numpy(np.array([frame], object))
        return found
    datatype = {"float32": "FP32"}.get(frame.dtype.name, frame.dtype.name.upper())
    found = triton.InferInput(name, list(frame.shape), datatype)
    found.set_data_from_numpy(frame)
    return found


def asked(
    address: str, graph: str, frame: Pixels | bytes, of: str | None = None
) -> Answer:
    """Unary; `of` is the graph of which this is another one. Raises
    InferenceServerException.
    """
    given = tensors(of or graph, frame)
    with triton.InferenceServerClient(address) as client:
        return _outputs(client.infer(graph, given, client_timeout=WITHIN))


def streamed(
    address: str, graph: str, frames: Sequence[Pixels | bytes], of: str | None = None
) -> list[Answer | InferenceServerException]:
    """One stream: what is said of each frame, in one message, until the stream ends."""
    like = of or graph
    said: queue.Queue[Any] = queue.Queue()
    found: list[Answer | InferenceServerException] = []
    with triton.InferenceServerClient(address) as client:
        client.start_stream(lambda result, error: said.put(error or result))
        for at, frame in enumerate(frames):
            # Microseconds: some graphs smooth by the time between frames.
            given: dict[str, Any] = {"OVMS_MP_TIMESTAMP": 33_333 * (at + 1)}
            if not at:
                given["OVMS_MP_COALESCE"] = True
            client.async_stream_infer(graph, tensors(like, frame), parameters=given)
            answer = said.get(timeout=WITHIN)
            if not _is_error(answer) and _is_partial(like, answer):
                answer = said.get(timeout=WITHIN)  # a node has failed, others have not
                assert _is_error(answer)
            found.append(answer if _is_error(answer) else _outputs(answer))
            if _is_error(answer) and answer.status() is not None:
                break  # the stream is over
        client.stop_stream()
    return found


def check(graph: str, frame: tuple[int, ...], datatype: str, answer: Answer) -> None:
    """That the answer is what the graph promises of a frame of that shape."""
    _, promised = GRAPHS[graph]
    assert set(answer) == set(promised)
    for name, array in answer.items():
        found = {"object": "BYTES", "float32": "FP32"}.get(
            array.dtype.name, array.dtype.name.upper()
        )
        is_picture = promised[name] == _PICTURE
        expected = datatype if is_picture else promised[name].datatype
        where = f"{graph}: {name} is {found} {list(array.shape)}"
        assert (found, promised[name].fits(array, frame)) == (expected, True), where


def _is_error(said: Any) -> bool:
    return isinstance(said, InferenceServerException)


def _is_partial(graph: str, told: Any) -> bool:
    return {each.name for each in told.get_response().outputs} != set(GRAPHS[graph][1])


def _outputs(told: Any) -> Answer:
    return {
        each.name: told.as_numpy(each.name).reshape(each.shape)
        for each in told.get_response().outputs
    }

"""Whatever picture a graph is sent, it is answered as promised or told what is wrong with
it; then the next one is answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from graphs import assets
from tests.graphs import everything
from tests.graphs.everything import GRAPHS, Answer, asked, check, streamed
from tests.graphs.in_process import rgb
from tests.wire.servers import Server
from tests.wire.waiting import until

pytestmark = pytest.mark.timeout(600)


@cache
def astronaut() -> Any:
    picture = cv2.imread(str(assets.fetch("astronaut.png")))
    assert picture is not None
    return rgb(picture)


def crowd() -> Any:
    """Six faces."""
    return np.ascontiguousarray(np.tile(astronaut()[:220, 110:330], (2, 3, 1)))


def flat(*shape: int, dtype: Any = np.uint8) -> Any:
    return np.full(shape, 120, dtype)


def noise() -> Any:
    return np.random.default_rng(0).integers(0, 255, (240, 320, 3)).astype(np.uint8)


_FORMAT: Final = r'node "[^"]*ImageToTensorCalculator" failed: .*expected GRAY8, SRGB'
_CHANNELS: Final = r"Invalid input shape - Expected: .*; Actual: .*; model name: "

PICTURES: Final[Mapping[str, tuple[Any, str]]] = {
    "one pixel": (flat(1, 1, 3), ""),
    "a line": (flat(1, 2000, 3), ""),
    "a column": (flat(2000, 1, 3), ""),
    "huge": (flat(2160, 3840, 3), ""),
    "of odd rows": (noise()[:37, :53].copy(), ""),
    "of signed bytes": (noise().view(np.int8), ""),
    "nobody": (flat(240, 320, 3), ""),
    "noise": (noise(), ""),
    "with alpha": (flat(48, 64, 4), ""),
    "gray": (flat(48, 64, 1), _CHANNELS),
    "of 16 bits": (flat(48, 64, 3, dtype=np.uint16), _FORMAT),
    "gray of 16 bits": (flat(48, 64, 1, dtype=np.uint16), _FORMAT),
    "of floats": (flat(48, 64, 1, dtype=np.float32), _FORMAT),
    "too long": (flat(40_000, 2, 3), "2x40000; expected 1x1 to 32766x32766"),
}
"""What they are, and what is said of them: nothing where they are answered."""

_BYTES_ONLY: Final = r"element_type is UINT8, the frame has "
_NOT_16: Final = "Only byte-based .* and float .* images supported, not uint16"

OTHERWISE: Final[Mapping[tuple[str, str], str]] = {
    ("emotions", "with alpha"): "an image of SRGBA; expected SRGB",
    ("selfie", "with alpha"): "SRGBA; expected SRGB",
    ("ocr", "with alpha"): "an image of SRGBA; expected SRGB",
    **{
        (graph, picture): said
        for graph in ("people_tracking", "cameras")
        for picture, said in (
            ("with alpha", _CHANNELS),
            ("of 16 bits", _BYTES_ONLY + "uint16"),
            ("gray of 16 bits", _BYTES_ONLY + "uint16"),
            ("of floats", _BYTES_ONLY + "float32"),
            ("too long", ""),
        )
    },
    **{
        ("barcodes", picture): f"frames are SRGB, SRGBA or GRAY8, not {format_}"
        for picture, format_ in (
            ("of 16 bits", "SRGB48"),
            ("gray of 16 bits", "GRAY16"),
            ("of floats", "VEC32F1"),
        )
    },
    ("barcodes", "gray"): "",
    ("barcodes", "too long"): "",
    ("face_tracking", "with alpha"): _CHANNELS,
    ("object_detection", "of 16 bits"): _NOT_16,
    ("object_detection", "gray of 16 bits"): _NOT_16,
    ("object_detection", "of floats"): _CHANNELS,
    ("object_detection", "too long"): "",
    ("face_tracking", "of 16 bits"): "frames are SRGB, not SRGB48",
    ("face_tracking", "gray of 16 bits"): _CHANNELS,
    ("face_tracking", "of floats"): _CHANNELS,
    ("face_tracking", "too long"): "",
}
"""What some graphs say instead."""

_NO_FORMAT: Final = "conversion to Mediapipe ImageFrame format failed"

NO_PICTURES: Final[Mapping[str, tuple[Any, str]]] = {
    "empty": (flat(0, 640, 3), "height. Expected greater than 0; Actual: 0"),
    "without channels": (
        flat(48, 64, 0),
        "channels. Expected greater than 0; Actual: 0",
    ),
    "of five channels": (flat(48, 64, 5), _NO_FORMAT),
    "of three floats": (flat(48, 64, 3, dtype=np.float32), _NO_FORMAT),
    "of 64 bits": (flat(48, 64, 3, dtype=np.int64), _NO_FORMAT),
    "a row": (flat(9), "shape size. Expected: 3; Actual: 1"),
    "a batch": (flat(1, 48, 64, 3), "shape size. Expected: 3; Actual: 4"),
    "a broken JPEG": (b"\xff\xd8\xff\xe0broken", "Image parsing failed - "),
    "a text": (b"no picture", "Image parsing failed - expected JPEG or PNG"),
}
"""What no graph is asked about."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("everything")
    everything.add(folder, *GRAPHS)
    with everything.served(folder, *GRAPHS) as server:
        yield server


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_picture_is_answered_or_told_what_is_wrong_with_it(
    server: Server, graph: str
):
    """Unary, and within a stream, which ends where a node fails; then a good picture is
    answered as it was at first.
    """
    good = asked(server.address, graph, astronaut())
    wrong = {name: OTHERWISE.get((graph, name), of[1]) for name, of in PICTURES.items()}
    fine = [frame for name, (frame, _) in PICTURES.items() if not wrong[name]]
    answers = streamed(server.address, graph, [*fine, astronaut()])
    for frame, answer in zip([*fine, astronaut()], answers, strict=True):
        assert not isinstance(answer, Exception), (frame.shape, answer)
        check(graph, frame.shape, _datatype(frame), answer)
    for name, (frame, _) in PICTURES.items():
        if wrong[name]:
            with pytest.raises(InferenceServerException) as unary:
                asked(server.address, graph, frame)
            (in_stream,) = streamed(server.address, graph, [frame, frame])
            told_of_a_node(unary.value, wrong[name])
            told_of_a_node(in_stream, wrong[name])
        else:
            answer = asked(server.address, graph, frame)
            check(graph, frame.shape, _datatype(frame), answer)
    like(asked(server.address, graph, astronaut()), good)
    assert until(server.is_idle)


@pytest.mark.parametrize("graph", GRAPHS)
def test_what_is_no_picture_is_refused_and_the_stream_goes_on(
    server: Server, graph: str
):
    nobody, first = flat(240, 320, 3), asked(server.address, graph, flat(240, 320, 3))
    given = [frame for frame, _ in NO_PICTURES.values()]
    said = streamed(server.address, graph, [nobody, *given, nobody])
    for answer in (said[0], said[-1]):
        assert not isinstance(answer, Exception), answer
        like(answer, first)
    for (frame, text), refusal in zip(NO_PICTURES.values(), said[1:-1], strict=True):
        assert text in str(refusal)
        assert "partial deserialization of subsequent requests" in str(refusal)
        with pytest.raises(InferenceServerException) as caught:
            asked(server.address, graph, frame)
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
        assert text in str(caught.value)
    assert until(server.is_idle)


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_crowd_is_answered_as_one_is(server: Server, graph: str):
    """Also in a file. One graph finds all of them, others as many as they look for."""
    frame = crowd()
    is_done, data = cv2.imencode(".png", frame[..., ::-1])
    assert is_done
    first, second = streamed(server.address, graph, [frame, data.tobytes()])
    for each in (first, second, asked(server.address, graph, frame)):
        assert not isinstance(each, Exception), each
        check(graph, frame.shape, "UINT8", each)
    counts = {"faces": ("faces", 6), "emotions": ("landmarks", 4)}
    if graph in counts:
        name, count = counts[graph]
        assert not isinstance(first, Exception)
        assert len(first[name]) == count


@pytest.mark.parametrize("graph", ["faces", "emotions", "hands", "pose", "holistic"])
def test_nobody_is_an_empty_answer_for_each_frame(server: Server, graph: str):
    """Also for one frame: OVMS fails where an output has nothing to say."""
    frame = flat(240, 320, 3)
    unary = asked(server.address, graph, frame)
    for each in (unary, *streamed(server.address, graph, [frame, frame])):
        assert not isinstance(each, Exception), each
        check(graph, frame.shape, "UINT8", each)
        found = dict(each)
        np.testing.assert_array_equal(found.pop("annotated"), frame)
        if graph == "emotions":
            assert found.pop("emotions").tolist() == [b"[]"]
        assert {len(array) for array in found.values()} == {0}


def _datatype(frame: Any) -> str:
    """Of a picture that comes back: bytes have no sign."""
    return "UINT16" if frame.dtype == np.uint16 else "UINT8"


def told_of_a_node(outcome: Answer | InferenceServerException, said: str) -> None:
    """Of what a client may know: not of files, nor of what nobody foresaw."""
    assert isinstance(outcome, InferenceServerException), outcome
    assert outcome.status() == "StatusCode.INVALID_ARGUMENT"
    text = str(outcome)
    assert re.search(said, text), text
    assert 'Calculator::Process() for node "' in text
    assert "Internal" not in text
    assert ".py" not in text


def like(answer: Answer, expected: Answer) -> None:
    """As it was: nothing is left of what came in between."""
    assert set(answer) == set(expected)
    for name, array in answer.items():
        assert array.shape == expected[name].shape
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, expected[name], atol=1e-3)
        elif array.dtype.kind == "u":
            assert np.abs(array.astype(int) - expected[name]).mean() < 0.5

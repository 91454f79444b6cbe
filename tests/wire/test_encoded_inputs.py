"""Pictures and texts as people have them, in streams: decoded where nobody is held up, and
refused before they grow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final

import cv2
import grpc
import numpy as np
import pytest

from tests.unit.servable.test_encoded import jpeg_that_says, png_that_says
from tests.wire import calls, zoo
from tests.wire.calls import Request, Stream, arrays, ask, floats, shaped, timestamp
from tests.wire.servers import Server, serving
from tests.wire.waiting import ROUNDS, until

PIXELS: Final = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
LARGE: Final = (6000, 8000, 3)
ENOUGH: Final = 10
SUBSEQUENT: Final = "; partial deserialization of subsequent requests"


def encoded(extension: str, pixels: np.ndarray) -> bytes:
    """A file of RGB pixels."""
    is_encoded, data = cv2.imencode(extension, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert is_encoded
    return data.tobytes()


def raw(*elements: bytes) -> bytes:
    return b"".join(len(each).to_bytes(4, "little") + each for each in elements)


def of_bytes(model: str, *elements: bytes, is_raw: bool) -> Request:
    if is_raw:
        return shaped(model, "in", "BYTES", len(elements), raw=raw(*elements))
    return shaped(model, "in", "BYTES", len(elements), bytes_contents=elements)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("encoded")
    # Takes a picture and, told so by the first request, lets none through.
    gate = zoo.node(
        "GateCalculator",
        'input_side_packet: "ALLOW:allow"',
        'input_stream: "in"',
        'output_stream: "out"',
    )
    gated = 'input_side_packet: "allow"\n' + zoo.graph(
        ["IMAGE:in"], ["IMAGE:out"], gate
    )
    graphs = {name: zoo.GRAPHS[name] for name in ("echo", "image")}
    for name, pbtxt in {**graphs, "gated": gated}.items():
        zoo.add_graph(folder, name, pbtxt)
    entries = [{"name": name} for name in ("echo", "image", "gated")]
    with serving(zoo.write_config(folder, [], entries)) as server:
        yield server


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel
    assert until(server.is_idle), "something is left in the server"


@pytest.mark.parametrize("is_raw", [True, False])
@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_a_picture_becomes_a_frame_or_a_tensor_of_its_pixels(
    channel: grpc.Channel, extension: str, is_raw: bool
) -> None:
    file = encoded(extension, PIXELS)
    # What OpenCV reads of it: for a JPEG not quite what was written.
    bgr = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    pixels = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    for model, expected in (("image", pixels), ("echo", pixels[np.newaxis])):
        with Stream(channel, of_bytes(model, file, is_raw=is_raw)) as stream:
            assert arrays(stream.answer()) == {"out": expected.tolist()}


@pytest.mark.parametrize("is_raw", [True, False])
def test_texts_become_rows_that_end_with_zeros(
    channel: grpc.Channel, is_raw: bool
) -> None:
    with Stream(channel, of_bytes("echo", b"Hi", b"you", is_raw=is_raw)) as stream:
        rows = arrays(stream.answer())["out"]
    assert [bytes(row) for row in rows] == [b"Hi\0\0", b"you\0"]


@pytest.mark.parametrize("model", ["image", "echo"])
@pytest.mark.parametrize("bomb", [png_that_says, jpeg_that_says])
def test_a_bomb_is_refused_and_its_stream_goes_on(
    channel: grpc.Channel, model: str, bomb: Callable[[int, int], bytes]
) -> None:
    good = of_bytes(model, encoded(".png", PIXELS), is_raw=True)
    bad = of_bytes(model, bomb(50_000, 50_000), is_raw=True)
    with Stream(channel, good, bad, good) as stream:
        assert timestamp(stream.answer()) == 0
        text = stream.refusal()
        assert "2500000000 pixels (50000x50000), at most 67108864" in text
        assert text.endswith(f"input name: in{SUBSEQUENT}")
        assert timestamp(stream.answer()) == 1


def test_others_are_answered_while_a_large_picture_is_decoded(
    server: Server, channel: grpc.Channel
) -> None:
    """Not in a thread that reads for all: there, others would wait for its end."""
    closed = {"allow": False}
    # A graph that is known to be quick is computed by whoever reads.
    little = ask("gated", {"in": PIXELS}, parameters=closed)
    with Stream(channel, *[little] * 200) as stream:
        stream.half_close()
        assert stream.end() == ("OK", "")
    large = of_bytes("gated", encoded(".png", np.zeros(LARGE, np.uint8)), is_raw=True)
    large.parameters["allow"].bool_param = False

    def answered_meanwhile() -> int:
        ends: list[calls.Status] = []
        with (
            server.connect() as other,
            Stream(channel) as stream,
            Stream(other) as neighbour,
        ):
            watch = threading.Thread(target=lambda: ends.append(stream.end()))
            watch.start()
            stream.send(large)
            stream.half_close()
            count = 0
            while not ends:
                neighbour.send(ask("echo", {"in": floats(count)}))
                assert timestamp(neighbour.answer()) == count
                count += 1
            watch.join()
        assert ends == [("OK", "")]
        return count

    # Once, if the machine has no time for us meanwhile.
    assert any(answered_meanwhile() > ENOUGH for _ in range(ROUNDS))

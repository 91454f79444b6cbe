"""A speech detector that remembers, on real speech: silero-vad, its state made OpenVINO's,
gives over streams and sequences what it gives when the state is handed over by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
import pytest
import tritonclient.grpc as triton
from openvino._offline_transformations import apply_make_stateful_transformation

from graphs import assets
from tests.interop.sounds import samples
from tests.wire import zoo
from tests.wire.calls import Stream, arrays, ask
from tests.wire.servers import Server, serving

CHUNK: Final = 512  # samples at 16 kHz, 32 ms
CONTEXT: Final = 64  # of the chunk before
EXACT: Final = {"INFERENCE_PRECISION_HINT": "f32"}
# As much as two runs of one model differ in the order of their sums.
TOLERANCE: Final = 1e-4

Windows = list[np.ndarray]


def windows(name: str, most: int = 150) -> Windows:
    """What a client sends of a sound: FP32 [1, 576] for each chunk."""
    sound = samples(name)
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), sound])
    count = min(most, len(sound) // CHUNK)
    return [
        padded[n * CHUNK : n * CHUNK + CONTEXT + CHUNK][np.newaxis]
        for n in range(count)
    ]


def detector() -> ov.Model:
    return ov.Core().read_model(assets.fetch("silero_vad.onnx"))


def by_hand(sound: Windows) -> list[float]:
    """The state handed over from call to call, by OpenVINO itself."""
    compiled = ov.compile_model(detector(), "CPU", EXACT)
    state: Any = np.zeros((2, 1, 128), np.float32)
    found: list[float] = []
    for window in sound:
        result = compiled({"input": window, "state": state})
        state = result["stateN"].copy()
        found.append(float(result["output"].flat[0]))
    return found


@pytest.fixture(scope="module")
def speech() -> Windows:
    return windows("austen_0870.wav")


@pytest.fixture(scope="module")
def noise() -> Windows:
    return windows("noise.wav")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("speech")
    remembering = detector()
    apply_make_stateful_transformation(remembering, {"state": "stateN"})
    zoo.add_model(folder, "vad", remembering)
    pbtxt = zoo.graph(
        ["OVTENSOR:samples"],
        ["OVTENSOR:speech"],
        zoo.session("vad"),
        zoo.inferring({"input": "samples"}, {"output": "speech"}),
    )
    zoo.add_graph(folder, "detector", pbtxt)
    config = zoo.write_config(folder, [zoo.entry("vad")], [{"name": "detector"}])
    with serving(config) as served:
        yield served


def streamed(
    server: Server, ports: tuple[str, str, str], sounds: Sequence[Windows]
) -> list[list[float]]:
    """Each sound on a stream of its own, all at the same time. `ports` are the
    servable, its input and its output.
    """
    model, given, taken = ports
    with server.connect() as channel:
        streams = [Stream(channel) for _ in sounds]
        for number in range(max(map(len, sounds))):
            for stream, sound in zip(streams, sounds, strict=True):
                if number < len(sound):
                    stream.send(ask(model, {given: sound[number]}))
        found: list[list[float]] = []
        for stream in streams:
            stream.half_close()
            answers = [arrays(each)[taken] for each in stream.rest()]
            found.append([float(np.ravel(each)[0]) for each in answers])
        return found


@pytest.mark.parametrize(
    "ports",
    [("vad", "input", "output"), ("detector", "samples", "speech")],
)
def test_speech_and_noise_on_streams_of_their_own_are_told_apart(
    server: Server, speech: Windows, noise: Windows, ports: tuple[str, str, str]
) -> None:
    sounds = [speech, noise, speech]
    found = streamed(server, ports, sounds)
    for sound, probabilities in zip(sounds, found, strict=True):
        np.testing.assert_allclose(probabilities, by_hand(sound), atol=TOLERANCE)
    assert np.mean(found[0]) > 0.5
    assert np.mean(found[1]) < 0.2


def test_a_sequence_of_unary_requests_gives_the_same(
    server: Server, speech: Windows
) -> None:
    sound = speech[:40]
    found: list[float] = []
    with triton.InferenceServerClient(server.address) as client:
        for number, window in enumerate(sound):
            tensor = triton.InferInput("input", list(window.shape), "FP32")
            tensor.set_data_from_numpy(window)
            result = client.infer(
                "vad",
                [tensor],
                sequence_id=7,
                sequence_start=number == 0,
                sequence_end=number == len(sound) - 1,
            )
            assert result is not None
            output = result.as_numpy("output")
            assert output is not None
            found.append(float(output.flat[0]))
    np.testing.assert_allclose(found, by_hand(sound), atol=TOLERANCE)

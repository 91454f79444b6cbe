"""The three models that hear a wake word, each streamed to: what they say of real speech
is what OpenVINO says in-process. They have no state; their windows overlap instead, and
it is the client that keeps them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov
import pytest

from graphs import assets
from ovms_mp.core.tensor import Array
from tests.interop.sounds import samples
from tests.wire import zoo
from tests.wire.calls import Stream, arrays, ask
from tests.wire.servers import Server, serving

CHUNK: Final = 1280  # samples, 80 ms
CONTEXT: Final = 480  # of the chunk before
BANDS: Final = 32
FRAMES: Final = 76  # of the spectrogram, that an embedding sees
FRAMES_PER_CHUNK: Final = 8
EMBEDDINGS: Final = 16  # that the word is heard in
CHUNKS: Final = 40
NAMES: Final = ("melspectrogram", "speech_embedding", "alexa")
EXACT: Final = {"INFERENCE_PRECISION_HINT": "f32"}
TOLERANCE: Final = 1e-4

# Runs a model on the inputs of each sound, which are of one shape.
Run = Callable[[str, Sequence[Array]], list[Array]]


def windows(of: Array, length: int, step: int) -> Array:
    """Those of `length` that begin at each `step`."""
    starts = range(0, len(of) - length + 1, step)
    return np.stack([of[start : start + length] for start in starts])


def heard(sounds: Sequence[Array], run: Run) -> list[tuple[Array, Array, Array]]:
    """What each of the three models says of each sound."""
    # The first takes samples as integers are, the second what is scaled like this.
    chunks = [
        windows(32768 * sound, CHUNK + CONTEXT, CHUNK)[:, None] for sound in sounds
    ]
    mels = run("melspectrogram", chunks)
    spectra = [(each / 10 + 2).reshape(-1, BANDS) for each in mels]
    seen = [
        windows(each, FRAMES, FRAMES_PER_CHUNK)[:, None, :, :, None] for each in spectra
    ]
    embedded = run("speech_embedding", seen)
    last = [windows(each.reshape(-1, 96), EMBEDDINGS, 1)[:, None] for each in embedded]
    return list(zip(mels, embedded, run("alexa", last), strict=True))


def in_process(name: str, sounds: Sequence[Array]) -> list[Array]:
    compiled = ov.compile_model(assets.fetch(f"{name}.tflite"), "CPU", EXACT)
    return [
        np.stack([compiled([each.astype(np.float32)])[0].copy() for each in inputs])
        for inputs in sounds
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("wake")
    for name in NAMES:
        version = folder / name / "1"
        version.mkdir(parents=True)
        shutil.copy(assets.fetch(f"{name}.tflite"), version / "model.tflite")
    entries = [zoo.entry(name, plugin_config=EXACT) for name in NAMES]
    with serving(zoo.write_config(folder, entries, [])) as served:
        yield served


def streamed(server: Server) -> Run:
    """Each sound on a stream of its own, all at the same time."""

    def run(name: str, sounds: Sequence[Array]) -> list[Array]:
        compiled = server.compiled(name)
        (source,), (target,) = (
            [port.info.name for port in ports]
            for ports in (compiled.inputs, compiled.outputs)
        )
        with server.connect() as channel:
            streams = [Stream(channel) for _ in sounds]
            for inputs in zip(*sounds, strict=True):
                for stream, each in zip(streams, inputs, strict=True):
                    stream.send(ask(name, {source: each.astype(np.float32)}))
            found: list[Array] = []
            for stream in streams:
                stream.half_close()
                answers = [arrays(each)[target] for each in stream.rest()]
                found.append(np.array(answers, np.float32))
            return found

    return run


def test_the_models_have_no_state(server: Server) -> None:
    assert not any(server.compiled(name).is_stateful for name in NAMES)


def test_streams_of_two_sounds_give_each_what_openvino_gives(server: Server) -> None:
    length = CHUNKS * CHUNK + CONTEXT
    speech = samples("austen_0870.wav")
    sounds = [speech[:length], speech[-length:]]
    found, expected = heard(sounds, streamed(server)), heard(sounds, in_process)
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE)
        # Nobody says the word.
        assert len(ours[2]) > 10
        assert ours[2].max() < 0.5

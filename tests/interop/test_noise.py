"""A noise filter of two models that remember, on real speech: DTLN, its states made
OpenVINO's, gives over streams what it gives when they are handed over by hand.

Each step of 8 ms takes the last 32: the first model finds how much of each frequency is
speech, the second mends the sound that is left (Westhausen and Meyer, 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import openvino as ov
import pytest
from openvino._offline_transformations import apply_make_stateful_transformation

from graphs import assets
from ovms_mp.core.tensor import Array
from tests.interop.sounds import samples
from tests.wire import zoo
from tests.wire.calls import Stream, arrays, ask
from tests.wire.servers import Server, serving

BLOCK: Final = 512  # samples
STEP: Final = 128
STEPS: Final = 100
LENGTH: Final = STEPS * STEP + BLOCK
EXACT: Final = {"INFERENCE_PRECISION_HINT": "f32"}
# As much as two runs of one model differ in the order of their sums.
TOLERANCE: Final = 1e-4


class Half(NamedTuple):
    """One of the two models, with its ports as the file names them."""

    name: str
    source: str
    state: str
    target: str
    next_state: str


MASK: Final = Half(
    "dtln_1", "input_2", "input_3", "activation_2", "tf_op_layer_stack_2"
)
MEND: Final = Half("dtln_2", "input_4", "input_5", "conv1d_3", "tf_op_layer_stack_5")

# Runs one of the models on the frames of each sound.
Run = Callable[[Half, Sequence[Array]], list[Array]]


def read(half: Half) -> ov.Model:
    return ov.Core().read_model(assets.fetch(f"{half.name}.onnx"))


def filtered(sounds: Sequence[Array], run: Run) -> list[Array]:
    """Each sound, as DTLN hears it. `run` gets and gives [steps, 1, 1, width] of each."""
    starts = STEP * np.arange(STEPS)
    blocks = [
        np.stack([sound[start : start + BLOCK] for start in starts]) for sound in sounds
    ]
    spectra = [np.fft.rfft(each) for each in blocks]
    masks = run(MASK, [np.abs(each)[:, None, None] for each in spectra])
    kept = [
        np.fft.irfft(spectrum * mask[:, 0, 0])[:, None, None]
        for spectrum, mask in zip(spectra, masks, strict=True)
    ]
    heard: list[Array] = []
    for mended in run(MEND, kept):
        sound = np.zeros(LENGTH, np.float32)
        for start, block in zip(starts, mended[:, 0, 0], strict=True):
            sound[start : start + BLOCK] += block
        heard.append(sound)
    return heard


def by_hand(half: Half, sounds: Sequence[Array]) -> list[Array]:
    """The state handed over from call to call, by OpenVINO itself."""
    compiled = ov.compile_model(read(half), "CPU", EXACT)
    found: list[Array] = []
    for frames in sounds:
        state: Any = np.zeros((1, 2, 128, 2), np.float32)
        steps: list[Array] = []
        for frame in frames.astype(np.float32):
            result = compiled({half.source: frame, half.state: state})
            state = result[half.next_state].copy()
            steps.append(result[half.target].copy())
        found.append(np.stack(steps))
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("noise")
    for half in (MASK, MEND):
        remembering = read(half)
        apply_make_stateful_transformation(remembering, {half.state: half.next_state})
        zoo.add_model(folder, half.name, remembering)
    entries = [zoo.entry(each.name, plugin_config=EXACT) for each in (MASK, MEND)]
    with serving(zoo.write_config(folder, entries, [])) as served:
        yield served


def streamed(server: Server) -> Run:
    """Each sound on a stream of its own, all at the same time."""

    def run(half: Half, sounds: Sequence[Array]) -> list[Array]:
        with server.connect() as channel:
            streams = [Stream(channel) for _ in sounds]
            for step in range(STEPS):
                for stream, frames in zip(streams, sounds, strict=True):
                    frame = frames[step].astype(np.float32)
                    stream.send(ask(half.name, {half.source: frame}))
            found: list[Array] = []
            for stream in streams:
                stream.half_close()
                answers = [arrays(each)[half.target] for each in stream.rest()]
                found.append(np.array(answers, np.float32))
            return found

    return run


def noise_ratio(clean: Array, sound: Array) -> float:
    """How much louder speech is than what is none, in dB, however loud both are."""
    speech = np.dot(clean, sound) / np.dot(clean, clean) * clean
    return float(10 * np.log10(np.sum(speech**2) / np.sum((sound - speech) ** 2)))


def test_two_streams_are_filtered_at_a_time_each_as_it_is_alone(
    server: Server,
) -> None:
    random = np.random.default_rng(1)
    speech = [samples("austen_0870.wav")[:LENGTH], samples("austen_0880.wav")[:LENGTH]]
    noisy = [
        each + each.std() * random.standard_normal(LENGTH).astype(np.float32)
        for each in speech
    ]
    run = streamed(server)
    together = filtered(noisy, run)
    expected = filtered(noisy, by_hand)
    for clean, sound, one, other in zip(speech, noisy, together, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=TOLERANCE)
        (alone,) = filtered([sound], run)
        np.testing.assert_allclose(one, alone, atol=TOLERANCE)
        # It is a filter of noise.
        assert noise_ratio(clean, one) > noise_ratio(clean, sound) + 3

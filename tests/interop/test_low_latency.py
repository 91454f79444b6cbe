"""A noise filter that was made to hear whole recordings, NSNet2 (two GRUs), hears one
step at a time and says the same, once its loops are states.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pytest

from graphs import assets
from ovms_mp.core.tensor import Array
from tests.interop.sounds import samples
from tests.wire import zoo
from tests.wire.calls import Stream, arrays, ask, infer
from tests.wire.servers import Server, serving

EXACT: Final = {"INFERENCE_PRECISION_HINT": "f32"}
WINDOW: Final = 320  # samples, 20 ms
STEPS: Final = 60
# As much as two runs of one model differ in the order of their sums.
TOLERANCE: Final = 1e-5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("nsnet2")
    (folder / "nsnet2" / "1").mkdir(parents=True)
    shutil.copy(assets.fetch("nsnet2.onnx"), folder / "nsnet2" / "1" / "model.onnx")
    keys: dict[str, Any] = {"base_path": "nsnet2", "plugin_config": EXACT}
    live = {"stateful": True, "low_latency_transformation": True}
    entries = [
        zoo.entry("whole", **keys),
        zoo.entry("live", **keys, **live),
    ]
    with serving(zoo.write_config(folder, entries)) as served:
        yield served


def powers(name: str) -> Array:
    """Log-power spectra of half-overlapping windows, [1, STEPS, 161]."""
    sound = samples(name)
    starts = WINDOW // 2 * np.arange(STEPS)
    frames = np.stack([sound[start : start + WINDOW] for start in starts])
    spectra = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2
    return np.log10(np.maximum(spectra, 1e-12)).astype(np.float32)[None]


def gains(answer: Any) -> Array:
    return np.array(arrays(answer)["output"], np.float32)


def test_steps_of_a_stream_give_what_the_whole_recording_gives(server: Server) -> None:
    heard = powers("austen_0870.wav"), powers("austen_0880.wav")
    with server.connect() as channel:
        whole = [gains(infer(channel, ask("whole", {"input": each}))) for each in heard]
        streams = [Stream(channel) for _ in heard]
        for step in range(STEPS):
            for stream, each in zip(streams, heard, strict=True):
                stream.send(ask("live", {"input": each[:, step : step + 1]}))
        for stream, expected in zip(streams, whole, strict=True):
            stream.half_close()
            found = np.concatenate([gains(each) for each in stream.rest()], axis=1)
            assert found.shape == expected.shape == (1, STEPS, 161)
            np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    assert np.abs(whole[0] - whole[1]).max() > 0.1  # it says something


def test_parts_of_a_sequence_give_what_the_whole_recording_gives(
    server: Server,
) -> None:
    heard = powers("austen_0870.wav")
    parts = np.split(heard, [1, 10, 11, 40], axis=1)
    last = len(parts) - 1
    with server.connect() as channel:
        whole = gains(infer(channel, ask("whole", {"input": heard})))
        found = [
            gains(
                infer(
                    channel,
                    ask(
                        "live",
                        {"input": part},
                        parameters={
                            "sequence_id": "call",
                            "sequence_start": number == 0,
                            "sequence_end": number == last,
                        },
                    ),
                )
            )
            for number, part in enumerate(parts)
        ]
    np.testing.assert_allclose(
        np.concatenate(found, axis=1), whole, rtol=0, atol=TOLERANCE
    )

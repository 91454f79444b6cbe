"""Laws of AudioWindowsCalculator: how a sound is cut does not depend on its packets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovms_mp_calculators import audio_windows
from ovms_mp_calculators.audio_windows import AudioWindowsCalculator, Windows

from ovms_mp.core.errors import ServingError
from ovms_mp.graph.runner import CalculatorRunner
from tests.unit.calculators.documented import node_of


def ramp(start: int, count: int) -> np.ndarray:
    """Samples whose value is their place in the sound, from 1."""
    return np.arange(start + 1, start + count + 1, dtype=np.float32)


@given(
    size=st.integers(1, 9),
    hop=st.integers(1, 12),
    lengths=st.lists(st.integers(0, 30), max_size=8),
)
def test_windows_are_those_of_the_whole_sound(size: int, hop: int, lengths: list[int]):
    """Window k ends (k + 1) * hop samples after the beginning, zeros before it."""
    windows = Windows(size, hop)
    cut = [
        window
        for number, count in enumerate(lengths)
        for window in windows.cut(ramp(sum(lengths[:number]), count))
    ]
    total = sum(lengths)
    sound = np.concatenate((np.zeros(size, np.float32), ramp(0, total)))
    expected = [sound[end : end + size] for end in range(hop, total + 1, hop)]
    assert np.array_equal(
        np.array(cut).reshape(-1, size), np.array(expected).reshape(-1, size)
    )
    assert all(window.shape == (1, size) for window in cut)


def test_what_waits_keeps_no_more_alive_than_itself():
    windows = Windows(4, 4)
    (window,) = windows.cut(ramp(0, 7))
    assert window.base is not None
    windows.cut(ramp(7, 0))
    assert windows._held.base is None
    assert len(windows._held) == 3


def test_the_documented_node_scales_int16_and_starts_with_silence():
    runner = CalculatorRunner(AudioWindowsCalculator, node_of(audio_windows))
    samples = np.full(600, -32768, np.int16)
    runner.feed("audio", samples, at=3)
    runner.feed("audio", samples[:10].reshape(1, -1), at=5)
    (first_at, [window]), (then_at, nothing) = runner.outputs["windows"]
    assert (first_at, then_at, nothing) == (3, 5, [])
    assert window.dtype == np.float32
    assert window[0].tolist() == [0.0] * 64 + [-1.0] * 512


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros((2, 8), np.float32), "samples have shape [n] or [1, n], not [2, 8]"),
        (np.zeros(8, np.float64), "samples are int16 or float32, not float64"),
        (np.array([0, np.nan], np.float32), "samples are finite numbers"),
    ],
)
def test_what_is_no_sound_is_refused(samples: np.ndarray, said: str):
    runner = CalculatorRunner(AudioWindowsCalculator, node_of(audio_windows))
    runner.feed("audio", samples, at=0)
    assert said in str(runner.error)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("window_samples: 0", "window_samples is 1 or more, not 0"),
        ("hop_samples: -1", "hop_samples is 0 or more, not -1"),
    ],
)
def test_windows_of_nothing_are_refused_at_load(options: str, said: str):
    node = node_of(audio_windows)
    start = node.index("window_samples:")
    node = node[:start] + options + node[node.index("}", start) :]
    with pytest.raises(ServingError, match=said):
        CalculatorRunner(AudioWindowsCalculator, node)

"""Real sounds as models take them: 16 kHz, one channel, FP32 from -1 to 1."""

from __future__ import annotations

import wave
from typing import Final

import numpy as np

from graphs import assets
from ovms_mp.core.tensor import Array

RATE: Final = 16_000


def samples(name: str) -> Array:
    """Of an asset that is a WAV file of 16 bits: its first channel."""
    with wave.open(str(assets.fetch(name))) as sound:
        rate, data = sound.getframerate(), sound.readframes(sound.getnframes())
        taken = np.frombuffer(data, np.int16).reshape(-1, sound.getnchannels())
    mono = taken[:, 0].astype(np.float32) / 32768
    at = np.arange(0, len(mono), rate / RATE)
    return np.interp(at, np.arange(len(mono)), mono).astype(np.float32)

"""Sound of any length becomes windows of one length: AudioWindowsCalculator.

    node {
      calculator: "AudioWindowsCalculator"
      input_stream: "SAMPLES:audio"       # INT16 or FP32, [n] or [1, n]
      output_stream: "WINDOWS:windows"    # list of FP32 [1, window_samples]
      node_options: {
        [type.googleapis.com/ovms_mp.AudioWindowsCalculatorOptions] {
          window_samples: 576
          hop_samples: 512
        }
      }
    }

A window ends `hop_samples` after the one before it, whatever the packets were that the
samples came in: what does not fill a window waits for the next packet, or is dropped at
the end. Before the first sample there was silence, so the first window is there after
`hop_samples`. A packet that fills no window gives an empty list. INT16 is scaled to
-1..1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Input, Options, Output
from ovms_mp.core.tensor import Array

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo

Samples: TypeAlias = NDArray[np.float32]

_OPTIONS: Final = graph.AudioWindowsCalculatorOptions

_INT16_SCALE: Final = np.float32(1 / 32768)


class Windows:
    """Cuts one sound."""

    def __init__(self, size: int, hop: int) -> None:
        self._size = size
        self._hop = hop
        self._held: Samples = np.zeros(max(size - hop, 0), np.float32)
        # Where the next window begins in `_held`; beyond it where a hop is longer than
        # a window, and leaves samples out.
        self._start = max(hop - size, 0)

    def cut(self, samples: Array) -> list[Samples]:
        """The windows, [1, size], that these samples, [n] or [1, n], complete.

        Raises ValueError for another shape or type, and for what is not finite.
        """
        held = np.concatenate((self._held, _as_sound(samples)))
        windows: list[Samples] = []
        start = self._start
        while start + self._size <= len(held):
            windows.append(held[start : start + self._size].reshape(1, -1))
            start += self._hop
        used = min(start, len(held))
        # Windows share memory with `held`; what waits does not, or nothing were freed.
        self._held = held[used:].copy()
        self._start = start - used
        return windows


def _as_sound(samples: Array) -> Samples:
    if samples.ndim == 2 and samples.shape[0] == 1:
        samples = samples[0]
    if samples.ndim != 1:
        msg = f"samples have shape [n] or [1, n], not {list(samples.shape)}"
        raise ValueError(msg)
    if samples.dtype == np.int16:
        return samples * _INT16_SCALE
    if samples.dtype != np.float32:
        msg = f"samples are int16 or float32, not {samples.dtype}"
        raise ValueError(msg)
    sound = samples.astype(np.float32, copy=False)
    if not np.isfinite(sound).all():
        msg = "samples are finite numbers, and some of these are not"
        raise ValueError(msg)
    return sound


class AudioWindowsCalculator(Calculator):
    """Cuts a stream of sound; what waits for more belongs to the graph run."""

    timestamp_offset = 0

    samples: Input[Array] = Input(np.ndarray, "SAMPLES")
    windows: Output[list[Samples]] = Output(list, "WINDOWS")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Refuse windows that hold nothing."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if options.window_samples < 1:
            msg = f"window_samples is 1 or more, not {options.window_samples}"
            raise ContractError(msg)
        if options.hop_samples < 0:
            msg = f"hop_samples is 0 or more, not {options.hop_samples}"
            raise ContractError(msg)

    def open(self, ctx: Context) -> None:
        """Begin with silence."""
        size = self.options.window_samples
        self._windows = Windows(size, self.options.hop_samples or size)

    def process(self, ctx: Context) -> None:
        """Take the samples of one packet."""
        ctx.send(self.windows, self._windows.cut(ctx[self.samples]))

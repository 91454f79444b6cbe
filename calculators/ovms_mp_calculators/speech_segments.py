"""Probabilities of speech become segments of it: SpeechSegmentsCalculator.

    node {
      calculator: "SpeechSegmentsCalculator"
      input_stream: "PROBABILITIES:heard"   # list of arrays, one number in each
      output_stream: "SEGMENTS:segments"    # FP64 [n, 2]: begin, end in seconds
      output_stream: "SPEECH:speech"        # FP32 [k]: the probabilities, optional
      node_options: {
        [type.googleapis.com/ovms_mp.SpeechSegmentsCalculatorOptions] {
          window_seconds: 0.032
        }
      }
    }

Each number is the probability that there was speech in the next `window_seconds`; time
counts from the first. A segment begins with the first window that has at least
`begin_probability`, and ends where `min_silence_seconds` without one of
`end_probability` begin. One that is shorter than `min_speech_seconds` was none.

Segments leave when they have ended, those of one packet together, with none at all as
[0, 2]; the one that the end of the stream ends leaves one timestamp after the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    TensorInfo,
)
from ovms_mp.core.timestamp import UNSTARTED, next_allowed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator import Context, InferenceSession, NodeInfo

Segment: TypeAlias = tuple[float, float]

_OPTIONS: Final = graph.SpeechSegmentsCalculatorOptions


class Segments:
    """Where one sound has speech."""

    def __init__(self, options: graph.SpeechSegmentsCalculatorOptions) -> None:
        self._window = options.window_seconds
        self._begins = options.begin_probability
        self._ends = options.end_probability
        # In windows, so that no rounding adds up; half a window is what it may miss.
        self._silence = max(1, round(options.min_silence_seconds / self._window))
        self._speech = round(options.min_speech_seconds / self._window)
        self._now = 0
        self._begin: int | None = None
        self._last_heard = 0

    def hear(self, probability: float) -> Segment | None:
        """Take the next window; the segment that has ended with it, if one has."""
        self._now += 1
        if self._begin is None:
            if probability >= self._begins:
                self._begin, self._last_heard = self._now - 1, self._now
            return None
        if probability >= self._ends:
            self._last_heard = self._now
            return None
        return self.end() if self._now - self._last_heard >= self._silence else None

    def end(self) -> Segment | None:
        """The segment that silence ends now, if there is one."""
        begin, self._begin = self._begin, None
        if begin is None or self._last_heard - begin < self._speech:
            return None
        return begin * self._window, self._last_heard * self._window


class SpeechSegmentsCalculator(Calculator):
    """Finds segments in a stream; what has begun belongs to the graph run."""

    timestamp_offset = None

    probabilities: Input[list[Any]] = Input(list, "PROBABILITIES")
    segments: Output[NDArray[np.float64]] = Output(np.ndarray, "SEGMENTS")
    speech: Output[NDArray[np.float32]] = Output(np.ndarray, "SPEECH", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Refuse numbers with which nothing could be heard, or never an end."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if not options.window_seconds > 0:
            msg = f"window_seconds is above 0, not {options.window_seconds:g}"
            raise ContractError(msg)
        if not 0 < options.end_probability <= options.begin_probability <= 1:
            msg = (
                "0 < end_probability <= begin_probability <= 1, not "
                f"{options.end_probability:g} and {options.begin_probability:g}"
            )
            raise ContractError(msg)
        for name in ("min_silence_seconds", "min_speech_seconds"):
            if not getattr(options, name) >= 0:
                msg = f"{name} is 0 or more, not {getattr(options, name):g}"
                raise ContractError(msg)

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """Segments in seconds, and a probability for each window."""
        types = {"SEGMENTS": ("FP64", (-1, 2)), "SPEECH": ("FP32", (-1,))}
        return {
            each.name: TensorInfo(each.name, *types[each.tag]) for each in node.outputs
        }

    def open(self, ctx: Context) -> None:
        """Begin at 0 s, in silence."""
        self._found = Segments(self.options)
        self._latest = UNSTARTED

    def process(self, ctx: Context) -> None:
        """Take the windows of one packet."""
        heard = np.array(
            [_number(each) for each in ctx[self.probabilities]], np.float32
        )
        ended = [self._found.hear(float(each)) for each in heard]
        self._latest = ctx.timestamp
        ctx.send(self.segments, _rows([each for each in ended if each]))
        if self.speech:
            ctx.send(self.speech, heard)

    def close(self, ctx: Context) -> None:
        """The end of the stream is silence, too."""
        segment = self._found.end()
        if segment and not ctx.error:
            ctx.send(self.segments, _rows([segment]), at=next_allowed(self._latest))


def _number(probability: Any) -> float:
    array = np.asarray(probability)
    if array.size != 1 or array.dtype.kind != "f":
        msg = f"a probability is one number, not {array.dtype} {list(array.shape)}"
        raise ValueError(msg)
    return float(array.reshape(()))


def _rows(segments: Sequence[Segment]) -> NDArray[np.float64]:
    return np.array(segments, np.float64).reshape(-1, 2)

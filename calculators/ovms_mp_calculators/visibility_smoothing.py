"""How visible landmarks are, without what flickers: VisibilitySmoothingCalculator.

    node {
      calculator: "VisibilitySmoothingCalculator"
      input_stream: "NORM_LANDMARKS:landmarks"              # NormalizedLandmarkList
      output_stream: "NORM_FILTERED_LANDMARKS:filtered"     # NormalizedLandmarkList
      node_options: {
        [type.googleapis.com/mediapipe.VisibilitySmoothingCalculatorOptions] {
          low_pass_filter { alpha: 0.1 }
        }
      }
    }

As MediaPipe's: `low_pass_filter` mixes each visibility with what it was, `no_filter`
changes nothing. LANDMARKS becomes FILTERED_LANDMARKS in the same way. A timestamp that is
known to have no landmarks, because another stream of the node has a packet, begins anew.
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
    tagged,
)
from ovms_mp.formats.landmark import LandmarkList, NormalizedLandmarkList

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.formats.landmark import Floats

_OPTIONS: Final = graph.VisibilitySmoothingCalculatorOptions

Doubles: TypeAlias = NDArray[np.float64]


class VisibilitySmoothingCalculator(Calculator):
    """Remembers one value for each landmark; fails when their number changes."""

    timestamp_offset = 0

    norm_landmarks = Input(NormalizedLandmarkList, "NORM_LANDMARKS", optional=True)
    landmarks = Input(LandmarkList, "LANDMARKS", optional=True)
    norm_filtered = Output(
        NormalizedLandmarkList, "NORM_FILTERED_LANDMARKS", optional=True
    )
    filtered = Output(LandmarkList, "FILTERED_LANDMARKS", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A filter, and the same kind of landmarks in and out."""
        same_kind(node)
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if options.WhichOneof("filter_options") is None:
            raise ContractError("a filter must be set, no_filter or low_pass_filter")
        alpha = options.low_pass_filter.alpha
        if not 0 <= alpha <= 1:
            raise ContractError(f"alpha {alpha:g} is not between 0 and 1")

    def open(self, ctx: Context) -> None:
        """Nothing is remembered."""
        self._last: Doubles | None = None
        self._filters = self.options.HasField("low_pass_filter")
        self._alpha = self.options.low_pass_filter.alpha

    def process(self, ctx: Context) -> None:
        """One list."""
        given: Any = self.norm_landmarks or self.landmarks
        made: Any = self.norm_filtered or self.filtered
        if not ctx.has(given):
            self._last = None
            return
        landmarks = ctx[given]
        if self._filters:
            landmarks = landmarks.seen(self._filtered(landmarks))
        ctx.send(made, landmarks)

    def _filtered(self, landmarks: LandmarkList | NormalizedLandmarkList) -> Floats:
        visibility = landmarks.visibility
        if visibility is None:
            visibility = np.zeros(len(landmarks), np.float32)
        last = self._last
        if last is not None:
            if len(last) != len(visibility):
                raise ValueError(
                    f"{len(visibility)} landmarks came after {len(last)}; "
                    "their number may not change"
                )
            visibility = low_pass(visibility, last, self._alpha)
        self._last = visibility.astype(np.float64)
        return visibility


def same_kind(node: NodeInfo) -> None:
    """Raises ContractError unless landmarks of one kind come in and leave filtered."""
    is_normalized = bool(tagged(node.inputs, "NORM_LANDMARKS"))
    if is_normalized == bool(tagged(node.inputs, "LANDMARKS")):
        raise ContractError("one input is needed, NORM_LANDMARKS or LANDMARKS")
    made = "NORM_FILTERED_LANDMARKS" if is_normalized else "FILTERED_LANDMARKS"
    if [each.tag for each in node.outputs] != [made]:
        raise ContractError(f"the output is {made}, of the kind of the input")


def low_pass(values: Floats, last: Doubles, alpha: float | Floats) -> Floats:
    """The part `alpha` of float32 values, and the rest of the last ones. `alpha` and
    `last` are float32's, too, and come as a float and as doubles: numpy takes twice as
    long for both types at once.
    """
    exact = alpha.astype(np.float64) if isinstance(alpha, np.ndarray) else alpha
    mixed = last * (1.0 - exact)
    mixed += (alpha * values).astype(np.float64)
    return mixed.astype(np.float32)

"""Lists one behind the other: Concatenate…VectorCalculators, Concatenate…ListCalculators.

    node {
      calculator: "ConcatenateFloatVectorCalculator"
      input_stream: "scores"
      input_stream: "one_more_score"
      output_stream: "all_scores"
      node_options: {
        [type.googleapis.com/mediapipe.ConcatenateVectorCalculatorOptions] {
          only_emit_if_all_present: true
        }
      }
    }

As MediaPipe's. Inputs without a packet add nothing; with `only_emit_if_all_present`
nothing leaves unless all have one.

…Vector: a payload that is a list adds its items, any other adds itself, and a list
leaves. …List: all are landmarks of one kind (NormalizedLandmarkList, LandmarkList), or the
same message with one repeated field (ClassificationList, JointList).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, Inputs, Options, Output
from ovms_mp_calculators.proto_list import joined

if TYPE_CHECKING:
    from ovms_mp.calculator import Context

_OPTIONS: Final = graph.ConcatenateVectorCalculatorOptions


class ConcatenateVectorCalculator(Calculator):
    """Joins lists and single items."""

    timestamp_offset = 0

    inputs = Inputs(Any, "")
    joined: Output[Any] = Output(list)
    options = Options(_OPTIONS)

    def process(self, ctx: Context) -> None:
        """What came at one timestamp."""
        present = [ctx[port] for port in self.inputs if ctx.has(port)]
        is_complete = len(present) == len(self.inputs)
        if is_complete or not self.options.only_emit_if_all_present:
            ctx.send(self.joined, self._joined(present))

    def _joined(self, present: list[Any]) -> Any:
        joined: list[Any] = []
        for each in present:
            if isinstance(each, list):
                joined += cast("list[Any]", each)
            else:
                joined.append(each)
        return joined


class ConcatenateListCalculator(ConcatenateVectorCalculator):
    """Joins landmarks and messages."""

    joined: Output[Any] = Output(Any)

    def _joined(self, present: list[Any]) -> Any:
        return joined(present)

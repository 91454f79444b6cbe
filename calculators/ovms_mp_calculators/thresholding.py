"""Whether a number is large enough: ThresholdingCalculator.

    node {
      calculator: "ThresholdingCalculator"
      input_stream: "FLOAT:score"           # float
      output_stream: "FLAG:is_present"      # bool
      node_options: {
        [type.googleapis.com/mediapipe.ThresholdingCalculatorOptions] {
          threshold: 0.5
        }
      }
    }

As MediaPipe's: FLAG tells whether the number is above the threshold; ACCEPT has a packet
(true) only if it is, REJECT (false) only if it is not. The threshold is the option, or a
side packet or a stream THRESHOLD; a stream's value holds until the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    SideInput,
    tagged,
)

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo

_OPTIONS: Final = graph.ThresholdingCalculatorOptions


class ThresholdingCalculator(Calculator):
    """What is no number is not large enough."""

    is_short = True
    timestamp_offset = 0
    requires_side_inputs = True

    number = Input(float, "FLOAT")
    threshold = Input(float, "THRESHOLD", optional=True)
    side_threshold = SideInput(float, "THRESHOLD", optional=True)
    flag = Output(bool, "FLAG", optional=True)
    accept = Output(bool, "ACCEPT", optional=True)
    reject = Output(bool, "REJECT", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """At most one threshold."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        given = (
            options.HasField("threshold"),
            bool(tagged(node.inputs, "THRESHOLD")),
            bool(tagged(node.side_inputs, "THRESHOLD")),
        )
        if sum(given) > 1:
            raise ContractError(
                "the threshold is an option, a side packet or a stream; one of them"
            )

    def open(self, ctx: Context) -> None:
        """What is known at the start."""
        self._threshold = self.options.threshold
        if self.side_threshold:
            self._threshold = ctx.side(self.side_threshold)

    def process(self, ctx: Context) -> None:
        """One number."""
        if self.threshold and ctx.has(self.threshold):
            self._threshold = ctx[self.threshold]
        if not ctx.has(self.number):
            raise ValueError("a threshold came without a number")
        is_above = ctx[self.number] > self._threshold
        if self.flag:
            ctx.send(self.flag, is_above)
        if self.accept and is_above:
            ctx.send(self.accept, True)
        if self.reject and not is_above:
            ctx.send(self.reject, False)

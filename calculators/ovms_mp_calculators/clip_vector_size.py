"""No more than so many items of a list: the Clip…VectorSizeCalculators.

    node {
      calculator: "ClipNormalizedRectVectorSizeCalculator"
      input_stream: "rects"
      output_stream: "first_rects"
      node_options: {
        [type.googleapis.com/mediapipe.ClipVectorSizeCalculatorOptions] {
          max_vec_size: 2
        }
      }
    }

As MediaPipe's: the first `max_vec_size` items (1 unless it is said), or as many as the
int in the input side packet says if there is one. All names are one calculator, which
takes any list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    SideInput,
)

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo

_OPTIONS: Final = graph.ClipVectorSizeCalculatorOptions


class ClipVectorSizeCalculator(Calculator):
    """Leaves items away."""

    timestamp_offset = 0
    requires_side_inputs = True

    vector: Input[list[Any]] = Input(list)
    clipped: Output[list[Any]] = Output(list)
    limit = SideInput(int, optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """At least one item may stay."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if options.max_vec_size < 1:
            raise ContractError(f"max_vec_size {options.max_vec_size} is less than 1")

    def open(self, ctx: Context) -> None:
        """How many."""
        self._limit = self.options.max_vec_size
        for port in self.node.side_inputs:
            self._limit = ctx.side(port)

    def process(self, ctx: Context) -> None:
        """One list."""
        if self._limit < 1:
            raise ValueError("max_vec_size should be greater than or equal to 1.")
        ctx.send(self.clipped, ctx[self.vector][: self._limit])

"""Whether a list is long enough: the …VectorHasMinSizeCalculators.

    node {
      calculator: "NormalizedRectVectorHasMinSizeCalculator"
      input_stream: "ITERABLE:hands"
      output_stream: "has_enough_hands"      # bool
      node_options: {
        [type.googleapis.com/mediapipe.CollectionHasMinSizeCalculatorOptions] {
          min_size: 2
        }
      }
    }

As MediaPipe's: at least `min_size` items, or as many as the int in the input side packet
says if there is one. All names are one calculator, which takes any list.
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

_OPTIONS: Final = graph.CollectionHasMinSizeCalculatorOptions


class HasMinSizeCalculator(Calculator):
    """Counts items."""

    is_short = True
    timestamp_offset = 0
    requires_side_inputs = True

    items: Input[list[Any]] = Input(list, "ITERABLE")
    is_enough = Output(bool)
    least = SideInput(int, optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A size."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if options.min_size < 0:
            raise ContractError(f"min_size {options.min_size} is less than 0")

    def open(self, ctx: Context) -> None:
        """How many."""
        self._least = self.options.min_size
        for port in self.node.side_inputs:
            self._least = ctx.side(port)

    def process(self, ctx: Context) -> None:
        """One list."""
        ctx.send(self.is_enough, len(ctx[self.items]) >= self._least)

"""One item of a list: the Get…VectorItemCalculators.

    node {
      calculator: "GetNormalizedRectVectorItemCalculator"
      input_stream: "VECTOR:rects"
      input_stream: "INDEX:chosen"       # optional
      output_stream: "ITEM:rect"
      node_options: {
        [type.googleapis.com/mediapipe.GetVectorItemCalculatorOptions] {
          item_index: 0
          output_empty_on_oob: true
        }
      }
    }

As MediaPipe's: the index is INDEX, or where that has no packet `item_index`; without
either nothing leaves. An index behind the list's end is an error, or with
`output_empty_on_oob` nothing; one below 0 is an error always.

The names differ in what MediaPipe's vectors hold; here all are one calculator, and take
any list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Input, Options, Output

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, InputPort, NodeInfo

_OPTIONS: Final = graph.GetVectorItemCalculatorOptions


class GetVectorItemCalculator(Calculator):
    """Picks an item."""

    timestamp_offset = 0

    vector: Input[list[Any]] = Input(list, "VECTOR")
    index = Input(int, "INDEX", optional=True)
    item = Output(Any, "ITEM")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Someone must say which item."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        has_index = any(port.tag == "INDEX" for port in node.inputs)
        if not has_index and not options.HasField("item_index"):
            raise ContractError("an input INDEX or the option `item_index` is needed")

    def process(self, ctx: Context) -> None:
        """One list."""
        if not ctx.has(self.vector):
            return
        items = ctx[self.vector]
        index = self._index(ctx, self.index)
        if index is None:
            return
        if index < 0 or (index >= len(items) and not self.options.output_empty_on_oob):
            raise ValueError(f"a list of {len(items)} items has no item {index}")
        if index < len(items):
            ctx.send(self.item, items[index])

    def _index(self, ctx: Context, port: InputPort[int] | None) -> int | None:
        if port is not None and ctx.has(port):
            return ctx[port]
        return self.options.item_index if self.options.HasField("item_index") else None

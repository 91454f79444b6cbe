"""Packets in a row become streams again: EndItemLoopCalculator.

    node {
      calculator: "EndItemLoopCalculator"
      input_stream: "ITEM:landmarks_of_hand"
      input_stream: "BATCH_END:hands_timestamp"
      output_stream: "ITEM:0:left_landmarks"
      output_stream: "ITEM:1:right_landmarks"
    }

As MediaPipe's: at each BATCH_END there have been as many items as there are outputs, or
none at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, Input, Outputs
from ovms_mp.core.timestamp import next_allowed

if TYPE_CHECKING:
    from ovms_mp.calculator import Context


class EndItemLoopCalculator(Calculator):
    """Gives each output one item."""

    item = Input(Any, "ITEM")
    batch_end = Input(int, "BATCH_END")
    items = Outputs(Any, "ITEM")

    def open(self, ctx: Context) -> None:
        """Nothing is there yet."""
        self._items: list[Any] = []

    def process(self, ctx: Context) -> None:
        """An item, the end of a row, or both."""
        if ctx.has(self.item):
            self._items.append(ctx[self.item])
        if not ctx.has(self.batch_end):
            return
        timestamp = ctx[self.batch_end]
        if not self._items:
            for output in self.items:
                ctx.set_next_bound(output, next_allowed(timestamp))
            return
        if len(self._items) != len(self.items):
            raise ValueError(
                f"{len(self._items)} items came for {len(self.items)} outputs"
            )
        for output, item in zip(self.items, self._items, strict=True):
            ctx.send(output, item, at=timestamp)
        self._items = []

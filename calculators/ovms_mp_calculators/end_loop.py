"""Packets become a list again: the EndLoop…Calculators.

    node {
      calculator: "EndLoopClassificationListCalculator"
      input_stream: "ITEM:classes_of_rect"
      input_stream: "BATCH_END:rects_timestamp"
      output_stream: "ITERABLE:classes"
    }

As MediaPipe's: the items that came since the last BATCH_END leave as a list, at the
timestamp that BATCH_END says. Without items nothing leaves, and the output's bound goes
on behind that timestamp.

The names differ in what MediaPipe's vectors hold; here all are one calculator, and take
any item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, Input, Output

if TYPE_CHECKING:
    from ovms_mp.calculator import Context


class EndLoopCalculator(Calculator):
    """Puts lists together."""

    item = Input(Any, "ITEM")
    batch_end = Input(int, "BATCH_END")
    iterable: Output[list[Any]] = Output(list, "ITERABLE")

    def open(self, ctx: Context) -> None:
        """Nothing is there yet."""
        self._items: list[Any] = []

    def process(self, ctx: Context) -> None:
        """An item, the end of a list, or both."""
        if ctx.has(self.item):
            self._items.append(ctx[self.item])
        if not ctx.has(self.batch_end):
            return
        timestamp = ctx[self.batch_end]
        if self._items:
            ctx.send(self.iterable, self._items, at=timestamp)
            self._items = []
        else:
            ctx.set_next_bound(self.iterable, timestamp + 1)

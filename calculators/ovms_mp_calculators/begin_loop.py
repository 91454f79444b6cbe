"""Each item of a list as a packet: the BeginLoop…Calculators.

    node {
      calculator: "BeginLoopNormalizedRectCalculator"
      input_stream: "ITERABLE:rects"
      input_stream: "CLONE:frame"
      output_stream: "ITEM:rect"
      output_stream: "CLONE:frame_of_rect"
      output_stream: "BATCH_END:rects_timestamp"
    }

As MediaPipe's. Items leave at timestamps of the loop's own, 0, 1, 2…, each with a clone
of every packet in CLONE. With the last item BATCH_END has the timestamp that the list
came with (int). For an empty list, or when only the bound of the inputs went on, the
loop's time goes on by one and BATCH_END alone has a packet. So the bounds of what an
EndLoop…Calculator makes go on as well.

The names differ in what MediaPipe's vectors hold; here all are one calculator, and take
any list.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, ContractError, Input, Inputs, Output, Outputs

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo


class BeginLoopCalculator(Calculator):
    """Takes lists apart."""

    process_timestamp_bounds = True

    iterable: Input[list[Any]] = Input(list, "ITERABLE")
    tick = Input(Any, "TICK", optional=True)
    clones_in = Inputs(Any, "CLONE", optional=True)
    item = Output(Any, "ITEM")
    clones_out = Outputs(Any, "CLONE", optional=True)
    batch_end = Output(int, "BATCH_END")

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Clones come in pairs."""
        given = sum(port.tag == "CLONE" for port in node.inputs)
        taken = sum(port.tag == "CLONE" for port in node.outputs)
        if given != taken:
            raise ContractError(
                f"{given} inputs CLONE and {taken} outputs CLONE: there must be as many"
            )

    def open(self, ctx: Context) -> None:
        """The loop's time begins at 0."""
        self._time = 0

    def process(self, ctx: Context) -> None:
        """One list, or none at a timestamp where none will come."""
        items = ctx.get(self.iterable) or ()
        clones = [
            (output, ctx[port])
            for port, output in zip(self.clones_in, self.clones_out, strict=True)
            if ctx.has(port)
        ]
        for time, item in enumerate(items, self._time):
            ctx.send(self.item, item, at=time)
            for output, clone in clones:
                ctx.send(output, clone, at=time)
        self._time += len(items) or 1
        if not items:
            for output in chain((self.item,), self.clones_out):
                ctx.set_next_bound(output, self._time)
        ctx.send(self.batch_end, ctx.timestamp, at=self._time - 1)

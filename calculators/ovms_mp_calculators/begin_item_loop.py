"""Packets of several streams one after the other: BeginItemLoopCalculator.

    node {
      calculator: "BeginItemLoopCalculator"
      input_stream: "ITEM:0:left_hand"
      input_stream: "ITEM:1:right_hand"
      input_stream: "CLONE:frame"
      output_stream: "ITEM:hand"
      output_stream: "CLONE:frame_of_hand"
      output_stream: "BATCH_END:hands_timestamp"
    }

As MediaPipe's: a loop as of a BeginLoop…Calculator, over the inputs ITEM. All of them
have a packet at a timestamp or none has; anything else is an error.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, ContractError, Inputs, Output, Outputs

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo


class BeginItemLoopCalculator(Calculator):
    """Puts streams in a row."""

    process_timestamp_bounds = True

    items = Inputs(Any, "ITEM")
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
        """One packet of each input, or none of any."""
        items = [ctx[port] for port in self.items if ctx.has(port)]
        if items and len(items) < len(self.items):
            raise ValueError("some inputs ITEM have a packet and some have none")
        for time, item in enumerate(items, self._time):
            ctx.send(self.item, item, at=time)
            for port, output in zip(self.clones_in, self.clones_out, strict=True):
                if ctx.has(port):
                    ctx.send(output, ctx[port], at=time)
                else:
                    ctx.set_next_bound(output, time + 1)
        self._time += len(items) or 1
        if not items:
            for output in chain((self.item,), self.clones_out):
                ctx.set_next_bound(output, self._time)
        ctx.send(self.batch_end, ctx.timestamp, at=self._time - 1)

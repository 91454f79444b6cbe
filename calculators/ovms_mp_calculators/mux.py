"""One of several streams, as another says: MuxCalculator.

    node {
      calculator: "MuxCalculator"
      input_stream: "INPUT:0:small"
      input_stream: "INPUT:1:large"
      input_stream: "SELECT:which"
      output_stream: "OUTPUT:chosen"
    }

As MediaPipe's: an int of the stream SELECT, or of a side packet, says which INPUT passes
at its timestamp. The input policy is MuxInputStreamHandler, which waits for the chosen
input only and needs SELECT to be a stream; with a side packet name another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Inputs,
    Output,
    SideInput,
    tagged,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort


class MuxCalculator(Calculator):
    """Passes the packet of the chosen input."""

    is_short = True
    input_policy = "MuxInputStreamHandler"
    timestamp_offset = 0

    inputs = Inputs(Any, "INPUT")
    select = Input(int, "SELECT", optional=True)
    side_select = SideInput(int, "SELECT", optional=True)
    output = Output(Any, "OUTPUT")

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """SELECT comes in one way."""
        count = sum(port.tag == "SELECT" for port in (*node.inputs, *node.side_inputs))
        if count != 1:
            raise ContractError(
                f"SELECT must be a stream or a side packet, found {count} of them"
            )

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """The chosen one."""
        (output,) = tagged(node.outputs, "OUTPUT")
        return [(port, output) for port in tagged(node.inputs, "INPUT")]

    def process(self, ctx: Context) -> None:
        """Choose."""
        if self.select:
            if not ctx.has(self.select):
                return
            chosen = ctx[self.select]
        else:
            assert self.side_select
            chosen = ctx.side(self.side_select)
        if not 0 <= chosen < len(self.inputs):
            raise ValueError(
                f"SELECT is {chosen}, expected 0 to {len(self.inputs) - 1}"
            )
        port = self.inputs[chosen]
        if ctx.has(port):
            ctx.send(self.output, ctx[port])

"""Packets without a clock take the time of ticks: PacketSequencerCalculator.

    node {
      calculator: "PacketSequencerCalculator"
      input_stream: "INPUT:settings"
      input_stream: "TICK:frames"
      output_stream: "OUTPUT:settings_in_time"
    }

As MediaPipe's: a packet of INPUT leaves at the first time that its OUTPUT has not
promised away, whatever time it came with; every packet or bound of TICK promises the time
up to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, ContractError, Inputs, Outputs, tagged
from ovms_mp.core.timestamp import MIN, next_allowed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort


class PacketSequencerCalculator(Calculator):
    """Gives packets a place in the line."""

    input_policy = "ImmediateInputStreamHandler"

    inputs = Inputs(Any, "INPUT")
    ticks = Inputs(Any, "TICK")
    outputs = Outputs(Any, "OUTPUT")

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """As many outputs as inputs."""
        given = sum(port.tag == "INPUT" for port in node.inputs)
        if given != len(node.outputs):
            raise ContractError(
                f"{given} INPUT need as many OUTPUT, found {len(node.outputs)}"
            )

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """Each in its line."""
        inputs = tagged(node.inputs, "INPUT")
        return zip(inputs, tagged(node.outputs, "OUTPUT"), strict=True)

    def process(self, ctx: Context) -> None:
        """Place what came, then promise what a tick says."""
        is_tick = any(ctx.settled(port) == ctx.timestamp for port in self.ticks)
        # A tick at PreStream is before all, too.
        tick = max(MIN, ctx.timestamp) if is_tick else MIN
        for source, target in zip(self.inputs, self.outputs, strict=True):
            bound = ctx.next_bound(target)
            if ctx.has(source):
                at = max(MIN, bound)
                ctx.send(target, ctx[source], at=at)
                bound = next_allowed(at)
            if tick >= bound:
                ctx.set_next_bound(target, next_allowed(tick))

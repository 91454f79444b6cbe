"""Only times at which every stream has a packet: PacketInnerJoinCalculator.

    node {
      calculator: "PacketInnerJoinCalculator"
      input_stream: "frames"
      input_stream: "masks"
      output_stream: "frames_with_masks"
      output_stream: "masks_with_frames"
    }

As MediaPipe's: the packets of a timestamp pass if no input lacks one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, ContractError, Inputs, Outputs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort


class PacketInnerJoinCalculator(Calculator):
    """All or none."""

    is_short = True
    timestamp_offset = 0

    inputs = Inputs(Any)
    outputs = Outputs(Any)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """As many outputs as inputs."""
        if len(node.inputs) != len(node.outputs):
            raise ContractError(
                f"{len(node.inputs)} input streams need as many output streams, found "
                f"{len(node.outputs)}"
            )

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """All of them."""
        return zip(node.inputs, node.outputs, strict=True)

    def process(self, ctx: Context) -> None:
        """Look at all before any passes."""
        if all(ctx.has(port) for port in self.inputs):
            for source, target in zip(self.inputs, self.outputs, strict=True):
                ctx.send(target, ctx[source])

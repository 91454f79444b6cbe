"""An image is an image: ToImageCalculator and FromImageCalculator.

    node {
      calculator: "ToImageCalculator"
      input_stream: "IMAGE_CPU:frame"    # ImageFrame; or IMAGE
      output_stream: "IMAGE:image"       # the same
    }

In MediaPipe they lead from ImageFrames to Images, which may be in a GPU's memory, and
back. Here both are one thing, and it passes as it came. Streams for a GPU are refused;
SOURCE_ON_GPU of the second tells that no image is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovms_mp.calculator import Calculator, ContractError, Input, Output, tagged
from ovms_mp.core.image import ImageFrame

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort


class ToImageCalculator(Calculator):
    """ImageFrame to Image."""

    timestamp_offset = 0

    image = Input(ImageFrame, "IMAGE", optional=True)
    frame = Input(ImageFrame, "IMAGE_CPU", optional=True)
    made = Output(ImageFrame, "IMAGE")

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One image."""
        if len(node.inputs) != 1:
            raise ContractError("one input is needed, IMAGE or IMAGE_CPU")

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """It is the same image."""
        return [(node.inputs[0], node.outputs[0])]

    def process(self, ctx: Context) -> None:
        """One image."""
        ctx.send(self.made, ctx[self.image or self.frame])


class FromImageCalculator(Calculator):
    """Image to ImageFrame."""

    timestamp_offset = 0

    image = Input(ImageFrame, "IMAGE")
    frame = Output(ImageFrame, "IMAGE_CPU")
    is_on_gpu = Output(bool, "SOURCE_ON_GPU", optional=True)

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """It is the same image."""
        return [(node.inputs[0], port) for port in tagged(node.outputs, "IMAGE_CPU")]

    def process(self, ctx: Context) -> None:
        """One image."""
        ctx.send(self.frame, ctx[self.image])
        if self.is_on_gpu:
            ctx.send(self.is_on_gpu, False)

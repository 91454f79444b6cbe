"""How large an image is: ImagePropertiesCalculator.

    node {
      calculator: "ImagePropertiesCalculator"
      input_stream: "IMAGE:image"    # ImageFrame; or IMAGE_CPU
      output_stream: "SIZE:size"     # (width, height)
    }

As MediaPipe's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovms_mp.calculator import Calculator, ContractError, Input, Output
from ovms_mp.core.image import ImageFrame

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo


class ImagePropertiesCalculator(Calculator):
    """Looks at no pixel."""

    is_short = True
    timestamp_offset = 0

    image = Input(ImageFrame, "IMAGE", optional=True)
    frame = Input(ImageFrame, "IMAGE_CPU", optional=True)
    size: Output[tuple[int, int]] = Output(tuple, "SIZE")

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One image."""
        if len(node.inputs) != 1:
            raise ContractError("one input is needed, IMAGE or IMAGE_CPU")

    def process(self, ctx: Context) -> None:
        """One image."""
        image = ctx[self.image or self.frame]
        ctx.send(self.size, (image.width, image.height))

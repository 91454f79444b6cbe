"""An image gets an alpha channel: SetAlphaCalculator.

    node {
      calculator: "SetAlphaCalculator"
      input_stream: "IMAGE:frame"       # ImageFrame, SRGB or SRGBA
      input_stream: "ALPHA:mask"        # ImageFrame of the same size, or alpha_value
      output_stream: "IMAGE:cut_out"    # ImageFrame, SRGBA
    }

As MediaPipe's on a CPU: alpha is the mask's first channel, or `alpha_value` of 0 to 255
for all pixels. Masks are of bytes, or of floats from 0 to 1, which are rounded; what is
less or more becomes 0 or 255. An image without its mask gets an alpha of 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    TensorInfo,
    tagged,
)
from ovms_mp.core.image import ImageFormat, ImageFrame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.calculator import Context, InferenceSession, NodeInfo
    from ovms_mp.core.image import Pixels

_OPTIONS: Final = graph.SetAlphaCalculatorOptions


class SetAlphaCalculator(Calculator):
    """Fails for images of other formats, and for masks of other sizes."""

    timestamp_offset = 0

    frame = Input(ImageFrame, "IMAGE")
    alpha = Input(ImageFrame, "ALPHA", optional=True)
    cut_out = Output(ImageFrame, "IMAGE")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A mask or a value."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        has_mask = bool(tagged(node.inputs, "ALPHA"))
        if (options.alpha_value >= 0) == has_mask:
            raise ContractError("Must use either image mask or options alpha value.")

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """Four channels of bytes."""
        name = node.outputs[0].name
        return {name: TensorInfo(name, "UINT8", (-1, -1, 4))}

    def process(self, ctx: Context) -> None:
        """One image."""
        frame = ctx.get(self.frame)
        if frame is None:
            return
        if frame.format not in {ImageFormat.SRGB, ImageFormat.SRGBA}:
            raise ValueError(
                f"Unsupported format: {frame.format.name}; expected SRGB or SRGBA"
            )
        pixels = np.empty((frame.height, frame.width, 4), np.uint8)
        pixels[..., :3] = frame.pixels[..., :3]
        mask = ctx.get(self.alpha) if self.alpha else None
        if mask is not None:
            pixels[..., 3] = _levels(mask, frame)
        else:
            pixels[..., 3] = min(max(self.options.alpha_value, 0), 255)
        ctx.send(self.cut_out, ImageFrame(ImageFormat.SRGBA, pixels))


def _levels(mask: ImageFrame, frame: ImageFrame) -> Pixels:
    """Uint8 [height, width]."""
    if (mask.width, mask.height) != (frame.width, frame.height):
        raise ValueError(
            f"a mask of {mask.width}x{mask.height} for an image of "
            f"{frame.width}x{frame.height}"
        )
    channel: Pixels = np.ascontiguousarray(mask.pixels[..., 0])
    if channel.dtype == np.uint8:
        return channel
    if channel.dtype != np.float32:
        raise ValueError(f"a mask of {mask.format.name}; expected bytes or floats")
    # A half goes up, as C++ rounds; what is no number becomes 0.
    levels = np.floor(np.nan_to_num(channel) * np.float32(255) + np.float32(0.5))
    return np.clip(levels, 0, 255).astype(np.uint8)

"""What a mask covers gets another colour: RecolorCalculator.

    node {
      calculator: "RecolorCalculator"
      input_stream: "IMAGE:frame"        # ImageFrame, SRGB
      input_stream: "MASK:mask"          # ImageFrame of any size
      output_stream: "IMAGE:recolored"   # ImageFrame, SRGB
      node_options: {
        [type.googleapis.com/mediapipe.RecolorCalculatorOptions] {
          color { r: 0 g: 0 b: 255 }
          invert_mask: true
          adjust_with_luminance: false
        }
      }
    }

As MediaPipe's on a CPU. Pixels are mixed with the colour by the mask's value, of bytes
or of floats from 0 to 1, and by their own brightness unless adjust_with_luminance says
otherwise. Of a mask with several channels the first counts, or the fourth with ALPHA.
An image without a mask passes as it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    tagged,
)
from ovms_mp.core.image import ImageFormat, ImageFrame

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from numpy.typing import NDArray

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort
    from ovms_mp.core.image import Pixels

_OPTIONS: Final = graph.RecolorCalculatorOptions
_BRIGHTNESS: Final = (0.299, 0.587, 0.114)


class RecolorCalculator(Calculator):
    """Fails for images that are not SRGB, and for masks of 16 bits or without pixels."""

    timestamp_offset = 0

    frame = Input(ImageFrame, "IMAGE")
    mask = Input(ImageFrame, "MASK", optional=True)
    recolored = Output(ImageFrame, "IMAGE")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A colour is needed."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if not options.HasField("color"):
            raise ContractError("Missing color option.")

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """It remains an image of its size."""
        return [(port, node.outputs[0]) for port in tagged(node.inputs, "IMAGE")]

    def process(self, ctx: Context) -> None:
        """One image."""
        frame = ctx.get(self.frame)
        mask = ctx.get(self.mask) if self.mask else None
        if frame is None:
            return
        if mask is None:
            ctx.send(self.recolored, frame)
            return
        if frame.format is not ImageFormat.SRGB:
            raise ValueError(f"Unsupported format: {frame.format.name}; expected SRGB")
        if not (frame.width and frame.height and mask.width and mask.height):
            raise ValueError(
                f"an image of {frame.width}x{frame.height} with a mask of "
                f"{mask.width}x{mask.height}"
            )
        ctx.send(
            self.recolored,
            ImageFrame(
                ImageFormat.SRGB, self._mixed(frame, self._weights(mask, frame))
            ),
        )

    def _weights(self, mask: ImageFrame, frame: ImageFrame) -> NDArray[np.float32]:
        """Float32 [height, width] of the frame's size."""
        if mask.pixels.dtype == np.uint16:
            raise ValueError(f"a mask of {mask.format.name}; expected bytes or floats")
        channel = 0
        if self.options.mask_channel == _OPTIONS.ALPHA:
            channel = mask.format.channels - 1 if mask.format.channels < 4 else 3
        plane: Pixels = np.ascontiguousarray(mask.pixels[..., channel])
        is_bytes = plane.dtype == np.uint8
        # Bytes are stretched as bytes, floats as floats.
        plane = cv2.resize(plane, (frame.width, frame.height))
        weights: NDArray[np.float32] = plane.astype(np.float32)
        if is_bytes:
            weights *= np.float32(1 / 255)
        return np.float32(1) - weights if self.options.invert_mask else weights

    def _mixed(
        self, frame: ImageFrame, weights: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        pixels = frame.pixels.astype(np.float32)
        if self.options.adjust_with_luminance:
            brightness = pixels @ np.array(_BRIGHTNESS, np.float32) / np.float32(255)
            weights = (weights * brightness).astype(np.float32)
        share = weights[..., np.newaxis]
        color = self.options.color
        target = np.clip([color.r, color.g, color.b], 0, 255)
        # OpenCV rounds each of the two to bytes before it adds them.
        kept = np.rint(pixels * (1 - share))
        added = np.rint(target.astype(np.float32) * share)
        mixed = np.clip(np.nan_to_num(kept), 0, 255) + np.clip(
            np.nan_to_num(added), 0, 255
        )
        return np.clip(mixed, 0, 255).astype(np.uint8)

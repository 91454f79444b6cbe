"""What is to be drawn is drawn on images: AnnotationOverlayCalculator.

    node {
      calculator: "AnnotationOverlayCalculator"
      input_stream: "IMAGE:frame"              # ImageFrame
      input_stream: "render_data"              # RenderData
      input_stream: "VECTOR:0:more_of_it"      # list of RenderData
      output_stream: "IMAGE:annotated"         # ImageFrame, a copy
      node_options: {
        [type.googleapis.com/mediapipe.AnnotationOverlayCalculatorOptions] {
          flip_text_vertically: false
        }
      }
    }

As MediaPipe's on a CPU, with OpenCV. Streams without a tag are drawn first, by their
index, then VECTORs. SRGB and SRGBA stay what they are, GRAY8 becomes SRGB. UIMAGE stands
for IMAGE on both sides. Without an image there is a canvas of canvas_width_px by
canvas_height_px in canvas_color, and one goes out whenever something comes to be drawn.
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
    Inputs,
    Options,
    Output,
    TensorInfo,
    tagged,
)
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.formats.messages import color_of
from ovms_mp.formats.render_data import RenderData
from ovms_mp_calculators.annotation_renderer import AnnotationRenderer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ovms_mp.calculator import (
        Context,
        InferenceSession,
        InputPort,
        NodeInfo,
        OutputPort,
    )
    from ovms_mp.core.image import Pixels

_OPTIONS: Final = graph.AnnotationOverlayCalculatorOptions
_MAX_SIDE: Final = 1 << 15


class AnnotationOverlayCalculator(Calculator):
    """Fails for images of other formats, and without pixels."""

    timestamp_offset = 0

    image = Input(ImageFrame, "IMAGE", optional=True)
    uimage = Input(ImageFrame, "UIMAGE", optional=True)
    singles = Inputs(RenderData, "", optional=True)
    vectors: Inputs[list[RenderData]] = Inputs(list, "VECTOR", optional=True)
    annotated = Output(ImageFrame, "IMAGE", optional=True)
    uannotated = Output(ImageFrame, "UIMAGE", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One image out, of the kind that came in, or a canvas."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        given = [each.tag for each in node.inputs if each.tag in {"IMAGE", "UIMAGE"}]
        made = [each.tag for each in node.outputs]
        if len(made) != 1 or given not in ([], made):
            raise ContractError(
                "one output is needed, IMAGE or UIMAGE, and at most one input of that tag"
            )
        if given:
            return
        for name in ("canvas_width_px", "canvas_height_px"):
            size = getattr(options, name)
            if not options.HasField(name) or not 0 < size <= _MAX_SIDE:
                raise ContractError(
                    f"without an image {name} must be set, from 1 to {_MAX_SIDE}"
                )

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """Frames of bytes."""
        names = (each.name for each in (*tagged(node.inputs, "IMAGE"), *node.outputs))
        return {name: TensorInfo(name, "UINT8", (-1, -1, -1)) for name in names}

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """What it is drawn on."""
        return [(port, node.outputs[0]) for port in tagged(node.inputs, "IMAGE")]

    def open(self, ctx: Context) -> None:
        """Which image, and how text stands."""
        self._source = self.image or self.uimage
        self._renderer = AnnotationRenderer(
            flip_text_vertically=self.options.flip_text_vertically
        )

    def process(self, ctx: Context) -> None:
        """One image."""
        source = self._source
        if source and not ctx.has(source):
            return
        form, pixels = _copied(ctx[source]) if source else self._canvas()
        for single in self.singles:
            if ctx.has(single):
                self._renderer.render(ctx[single], pixels)
        for vector in self.vectors:
            for each in ctx.get(vector) or ():
                self._renderer.render(each, pixels)
        target = self.annotated or self.uannotated
        ctx.send(target, ImageFrame(form, pixels))

    def _canvas(self) -> tuple[ImageFormat, Pixels]:
        options = self.options
        shape = options.canvas_height_px, options.canvas_width_px, 3
        pixels = np.empty(shape, np.uint8)
        pixels[:] = np.clip(color_of(options.canvas_color), 0, 255)
        return ImageFormat.SRGB, pixels


def _copied(frame: ImageFrame) -> tuple[ImageFormat, Pixels]:
    """Pixels to draw on."""
    if not frame.width or not frame.height:
        raise ValueError(f"an image of {frame.width}x{frame.height} has no pixels")
    if frame.format is ImageFormat.GRAY8:
        return ImageFormat.SRGB, cv2.cvtColor(frame.pixels, cv2.COLOR_GRAY2RGB)
    if frame.format not in {ImageFormat.SRGB, ImageFormat.SRGBA}:
        raise ValueError(
            f"Unexpected image frame format {frame.format.name}; expected SRGB, SRGBA "
            "or GRAY8"
        )
    return frame.format, np.array(frame.pixels, order="C")

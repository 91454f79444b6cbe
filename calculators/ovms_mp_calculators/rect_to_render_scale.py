"""How thick to draw what is in a rect: RectToRenderScaleCalculator.

    node {
      calculator: "RectToRenderScaleCalculator"
      input_stream: "NORM_RECT:rect"              # NormalizedRect
      input_stream: "IMAGE_SIZE:size"             # (width, height)
      output_stream: "RENDER_SCALE:scale"         # float
      node_options: {
        [type.googleapis.com/mediapipe.RectToRenderScaleCalculatorOptions] {
          multiplier: 0.0008
        }
      }
    }

As MediaPipe's: the longer side in pixels times `multiplier`, which alone is the scale of
what is not there. With `process_timestamp_bounds` it is told also for timestamps that have
neither a rect nor a size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, Input, Options, Output
from ovms_mp.calculator.base import Behaviour
from ovms_mp.formats.rect import NormalizedRect

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo

_OPTIONS: Final = graph.RectToRenderScaleCalculatorOptions


class RectToRenderScaleCalculator(Calculator):
    """Fails for a rect without the size of its image."""

    is_short = True
    timestamp_offset = 0

    rect = Input(NormalizedRect, "NORM_RECT")
    size: Input[tuple[int, int]] = Input(tuple, "IMAGE_SIZE")
    scale = Output(float, "RENDER_SCALE")
    options = Options(_OPTIONS)

    @classmethod
    def behaviour(cls, node: NodeInfo) -> Behaviour:
        """As the option says."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        return Behaviour(cls.input_policy, options.process_timestamp_bounds)

    def process(self, ctx: Context) -> None:
        """One rect, or none."""
        scale = self.options.multiplier
        if ctx.has(self.rect):
            if not ctx.has(self.size):
                raise ValueError("a rect came without the size of its image")
            rect, (width, height) = ctx[self.rect], ctx[self.size]
            scale *= max(rect.width * width, rect.height * height)
        ctx.send(self.scale, scale)

"""Rects are moved, turned, widened or made square: RectTransformationCalculator.

    node {
      calculator: "RectTransformationCalculator"
      input_stream: "NORM_RECT:rect"          # NormalizedRect
      input_stream: "IMAGE_SIZE:size"         # (width, height)
      output_stream: "roi"                    # NormalizedRect
      node_options: {
        [type.googleapis.com/mediapipe.RectTransformationCalculatorOptions] {
          scale_x: 1.5
          scale_y: 1.5
          square_long: true
        }
      }
    }

As MediaPipe's: NORM_RECT, NORM_RECTS, RECT or RECTS comes in, and the same goes out. The
first two need IMAGE_SIZE, since a square is one of pixels. A rect is shifted along its
sides, then made square, then scaled. The rotation of the options turns the way of the
shift and not the rect, as in MediaPipe.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    tagged,
)
from ovms_mp.formats.rect import NormalizedRect, Rect
from ovms_mp_calculators.detections_to_rects import normalized_radians

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovms_mp.calculator import Context, NodeInfo

_OPTIONS: Final = graph.RectTransformationCalculatorOptions
_INPUTS: Final = ("RECT", "RECTS", "NORM_RECT", "NORM_RECTS")


class RectTransformationCalculator(Calculator):
    """Fails for an image without pixels."""

    timestamp_offset = 0

    rect = Input(Rect, "RECT", optional=True)
    rects: Input[list[Rect]] = Input(list, "RECTS", optional=True)
    norm_rect = Input(NormalizedRect, "NORM_RECT", optional=True)
    norm_rects: Input[list[NormalizedRect]] = Input(list, "NORM_RECTS", optional=True)
    size: Input[tuple[int, int]] = Input(tuple, "IMAGE_SIZE", optional=True)
    transformed = Output(Any)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One kind of rect, and options that do not contradict each other."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        given = [tag for tag in _INPUTS if tagged(node.inputs, tag)]
        if len(given) != 1:
            raise ContractError(f"one input is needed of {', '.join(_INPUTS)}")
        if given[0].startswith("NORM") and not tagged(node.inputs, "IMAGE_SIZE"):
            raise ContractError(f"{given[0]} needs an input IMAGE_SIZE")
        for one, other in (
            ("rotation", "rotation_degrees"),
            ("square_long", "square_short"),
        ):
            if options.HasField(one) and options.HasField(other):
                raise ContractError(f"{one} and {other} exclude each other")

    def open(self, ctx: Context) -> None:
        """What is asked for each rect."""
        options = self.options
        self._turn: float | None = None
        if options.HasField("rotation"):
            self._turn = options.rotation
        elif options.HasField("rotation_degrees"):
            self._turn = math.pi * options.rotation_degrees / 180
        self._shift = options.shift_x, options.shift_y
        self._scale = options.scale_x, options.scale_y
        self._square: Callable[[float, float], float] | None = None
        if options.square_long:
            self._square = max
        elif options.square_short:
            self._square = min

    def process(self, ctx: Context) -> None:
        """One rect or one list."""
        size = (1, 1)
        if self.norm_rect or self.norm_rects:
            if not ctx.has(self.size):
                return
            size = ctx[self.size]
            if min(size) < 1:
                raise ValueError(f"an image of {size[0]}x{size[1]} has no rects")
        if self.norm_rect and ctx.has(self.norm_rect):
            ctx.send(self.transformed, self._of(ctx[self.norm_rect], size))
        elif self.norm_rects and ctx.has(self.norm_rects):
            every = [self._of(each, size) for each in ctx[self.norm_rects]]
            ctx.send(self.transformed, every)
        elif self.rect and ctx.has(self.rect):
            ctx.send(self.transformed, _whole(self._of(ctx[self.rect], size)))
        elif self.rects and ctx.has(self.rects):
            every = [_whole(self._of(each, size)) for each in ctx[self.rects]]
            ctx.send(self.transformed, every)

    def _of(self, rect: Any, size: tuple[int, int]) -> Any:
        """`size` is 1 by 1 for a rect in pixels."""
        across, down = size
        shift_x, shift_y = self._shift
        scale_x, scale_y = self._scale
        rotation = rect.rotation
        if self._turn is not None:
            rotation = normalized_radians(rotation + self._turn)
        width, height = rect.width * across, rect.height * down
        x, y = width * shift_x, height * shift_y
        cos, sin = math.cos(rotation), math.sin(rotation)
        x_center = rect.x_center + (x * cos - y * sin) / across
        y_center = rect.y_center + (x * sin + y * cos) / down
        if self._square is not None:
            width = height = self._square(width, height)
        # By its class, in a third of the time that `replace` takes.
        return rect.__class__(
            x_center,
            y_center,
            width / across * scale_x,
            height / down * scale_y,
            rect.rotation,
            rect.rect_id,
        )


def _whole(rect: Rect) -> Rect:
    """In whole pixels, towards zero."""
    return Rect(
        int(rect.x_center),
        int(rect.y_center),
        int(rect.width),
        int(rect.height),
        rect.rotation,
        rect.rect_id,
    )

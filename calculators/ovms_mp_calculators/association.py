"""What is the same on several streams stays once: AssociationNormRectCalculator,
AssociationDetectionCalculator.

    node {
      calculator: "AssociationNormRectCalculator"
      input_stream: "rects_of_palms"        # list of NormalizedRect
      input_stream: "rects_of_landmarks"    # list of NormalizedRect
      output_stream: "rects"                # list of NormalizedRect
      node_options: {
        [type.googleapis.com/mediapipe.AssociationCalculatorOptions] {
          min_similarity_threshold: 0.5
        }
      }
    }

As MediaPipe's: all lists one behind the other, without those that a later one overlaps by
more than the threshold (intersection over union, of rects as if they were not turned).
Detections, whose boxes are relative ones, inherit the detection_id of those that give way
to them, and of one on the stream PREV, which is not put out itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Inputs,
    Options,
    Output,
    tagged,
)
from ovms_mp.formats.detection import Box, Detection, LocationFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.formats.rect import NormalizedRect

_OPTIONS: Final = graph.AssociationCalculatorOptions


class AssociationNormRectCalculator(Calculator):
    """Keeps the later ones of rects."""

    timestamp_offset = 0

    previous: Input[list[Any]] = Input(list, "PREV", optional=True)
    lists: Inputs[list[Any]] = Inputs(list)
    kept: Output[list[Any]] = Output(list)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A threshold that can be, and something beside PREV."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if not options.min_similarity_threshold >= 0:
            raise ContractError("min_similarity_threshold is less than 0")
        if len(node.inputs) == len(tagged(node.inputs, "PREV")):
            raise ContractError("an input is needed beside PREV")

    def open(self, ctx: Context) -> None:
        """How much two may overlap."""
        self._threshold = self.options.min_similarity_threshold

    def process(self, ctx: Context) -> None:
        """What came at one timestamp."""
        kept: list[Any] = []
        is_first = True
        for port in self.lists:
            for each in ctx[port] if ctx.has(port) else ():
                # The very first is taken without a look at it, as natively.
                kept = [each] if is_first else self._with(kept, each)
                is_first = False
        if self.previous and ctx.has(self.previous):
            kept = [self._named(each, ctx[self.previous]) for each in kept]
        ctx.send(self.kept, kept)

    def _with(self, kept: Sequence[Any], new: Any) -> list[Any]:
        """`new` at the end, without those that it overlaps."""
        same = self._same(new, kept)
        staying = [each for each, gone in zip(kept, same, strict=True) if not gone]
        given = [each for each, gone in zip(kept, same, strict=True) if gone]
        return [*staying, self._inheriting(new, given)]

    def _named(self, one: Any, previous: Sequence[Any]) -> Any:
        same = self._same(one, previous)
        return self._inheriting(
            one, [each for each, is_same in zip(previous, same, strict=True) if is_same]
        )

    def _same(self, one: Any, others: Sequence[Any]) -> list[bool]:
        box = self._box(one)
        return [overlap(box, self._box(each)) > self._threshold for each in others]

    def _box(self, item: NormalizedRect) -> Box:
        left, top = item.x_center - item.width / 2, item.y_center - item.height / 2
        return Box(left, top, item.width, item.height)

    def _inheriting(self, item: Any, others: Sequence[Any]) -> Any:
        """Rects have no name."""
        return item


class AssociationDetectionCalculator(AssociationNormRectCalculator):
    """Keeps the later ones of detections; fails for boxes that are not relative."""

    def _box(self, item: Any) -> Box:
        if item.format is not LocationFormat.RELATIVE_BOUNDING_BOX:
            raise ValueError(
                f"a location of {item.format.name}; expected RELATIVE_BOUNDING_BOX"
            )
        return item.box

    def _inheriting(self, item: Detection, others: Sequence[Detection]) -> Detection:
        ids = [each.detection_id for each in others if each.detection_id is not None]
        return replace(item, detection_id=ids[-1]) if ids else item


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes; 0 where there is neither."""
    wide = min(one.xmin + one.width, other.xmin + other.width) - max(
        one.xmin, other.xmin
    )
    high = min(one.ymin + one.height, other.ymin + other.height) - max(
        one.ymin, other.ymin
    )
    if not (wide > 0 and high > 0):
        return 0.0
    common = wide * high
    union = one.width * one.height + other.width * other.height - common
    return common / union if union > 0 else 0.0

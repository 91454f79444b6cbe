"""Detections that are good and large enough: FilterDetectionsCalculator.

    node {
      calculator: "FilterDetectionsCalculator"
      input_stream: "INPUT_DETECTIONS:all"       # list of Detection
      input_stream: "IMAGE_SIZE:size"            # (width, height)
      output_stream: "OUTPUT_DETECTIONS:some"    # list of Detection
      node_options: {
        [type.googleapis.com/mediapipe.FilterDetectionsCalculatorOptions] {
          min_score: 0.6
          min_pixel_size: 20
        }
      }
    }

As MediaPipe's: by the first score, and by the longer side of the relative box in pixels,
for which IMAGE_SIZE is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
from ovms_mp.formats.detection import Detection

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort

_OPTIONS: Final = graph.FilterDetectionsCalculatorOptions


class FilterDetectionsCalculator(Calculator):
    """Fails for a detection without a score where scores count."""

    timestamp_offset = 0

    given: Input[list[Detection]] = Input(list, "INPUT_DETECTIONS")
    size: Input[tuple[int, int]] = Input(tuple, "IMAGE_SIZE", optional=True)
    kept: Output[list[Detection]] = Output(list, "OUTPUT_DETECTIONS")
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Sizes need the image's."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        has_limits = options.HasField("min_pixel_size") or options.HasField(
            "max_pixel_size"
        )
        if has_limits and not tagged(node.inputs, "IMAGE_SIZE"):
            raise ContractError("sizes in pixels need an input IMAGE_SIZE")

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """Detections remain detections."""
        return zip(tagged(node.inputs, "INPUT_DETECTIONS"), node.outputs, strict=False)

    def open(self, ctx: Context) -> None:
        """What is asked of each one."""
        options = self.options
        self._least = options.min_score if options.HasField("min_score") else None
        self._smallest = self._largest = None
        if options.HasField("min_pixel_size"):
            self._smallest = options.min_pixel_size
        if options.HasField("max_pixel_size"):
            self._largest = options.max_pixel_size

    def process(self, ctx: Context) -> None:
        """One list."""
        if not ctx.has(self.given):
            return
        size = ctx[self.size] if self.size else (0, 0)
        ctx.send(self.kept, [e for e in ctx[self.given] if self._is_kept(e, size)])

    def _is_kept(self, detection: Detection, size: tuple[int, int]) -> bool:
        if self._least is not None:
            if not detection.scores:
                raise ValueError("a detection without a score cannot be judged by it")
            if detection.scores[0] < self._least:
                return False
        if self._smallest is None and self._largest is None:
            return True
        sides = np.array(detection.box[2:], np.float32) * np.array(size, np.float32)
        longer = sides.max()
        if self._smallest is not None and longer < self._smallest:
            return False
        return not (self._largest is not None and longer > self._largest)

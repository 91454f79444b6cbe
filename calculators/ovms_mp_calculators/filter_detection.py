"""Detections of some labels, and of some scores: FilterDetectionCalculator.

    node {
      calculator: "FilterDetectionCalculator"
      input_stream: "DETECTIONS:all"         # list of Detection; or DETECTION: one
      output_stream: "DETECTIONS:some"       # list of Detection; or DETECTION: one
      input_side_packet: "LABELS_CSV:labels" # str, optional
      node_options: {
        [type.googleapis.com/mediapipe.FilterDetectionCalculatorOptions] {
          min_score: 0.5
        }
      }
    }

As MediaPipe's (of objectron): of each detection the labels that are allowed and whose
scores are between min_score and max_score, the best first, with its location and nothing
else; one without any is left out. Labels come as a list in LABELS, between commas in
LABELS_CSV, or as the values of a map in LABEL_MAP; without any of them all are allowed.
An empty list allows none, and nothing comes, unless
empty_allowed_labels_means_allow_everything is set; with fail_on_empty_labels it fails.

Labels are meant as they are written. MediaPipe takes them for regular expressions, too;
what looks like one fails here, since a client may send it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    SideInput,
)
from ovms_mp.formats.detection import Detection

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo

_OPTIONS: Final = graph.FilterDetectionCalculatorOptions
_EXPRESSION: Final = re.compile(r"[][\\^$.|?*+(){}]")


class FilterDetectionCalculator(Calculator):
    """Fails for detections that have not a score for each label."""

    timestamp_offset = 0
    requires_side_inputs = True

    detection = Input(Detection, "DETECTION", optional=True)
    detections: Input[list[Detection]] = Input(list, "DETECTIONS", optional=True)
    labels: SideInput[list[str]] = SideInput(list, "LABELS", optional=True)
    labels_csv = SideInput(str, "LABELS_CSV", optional=True)
    label_map: SideInput[dict[int, str]] = SideInput(dict, "LABEL_MAP", optional=True)
    kept_detection = Output(Detection, "DETECTION", optional=True)
    kept_detections: Output[list[Detection]] = Output(list, "DETECTIONS", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One stream in, one of the same tag out."""
        given = [each.tag for each in node.inputs]
        made = [each.tag for each in node.outputs]
        if len(given) != 1 or given != made:
            raise ContractError(
                "one input and one output of its tag are needed, DETECTION or DETECTIONS"
            )

    def open(self, ctx: Context) -> None:
        """Learn the labels."""
        self._allowed = self._given(ctx)
        if self._allowed is None:
            return
        for each in self._allowed:
            if _EXPRESSION.search(each):
                raise ValueError(
                    f'label "{each}" is a regular expression; labels are plain texts'
                )
        if not self._allowed:
            if self.options.fail_on_empty_labels:
                raise ValueError("no label is allowed, and fail_on_empty_labels is set")
            if self.options.empty_allowed_labels_means_allow_everything:
                self._allowed = None

    def _given(self, ctx: Context) -> frozenset[str] | None:
        """Labels that are allowed; None for all."""
        if self.labels_csv:
            names = ctx.side(self.labels_csv).split(",")
            return frozenset(name.strip() for name in names if name.strip())
        if self.labels:
            return frozenset(ctx.side(self.labels))
        if self.label_map:
            return frozenset(ctx.side(self.label_map).values())
        return None

    def process(self, ctx: Context) -> None:
        """One list, or one detection."""
        source: Any = self.detections or self.detection
        given = ctx.get(source)
        if given is None or (self._allowed is not None and not self._allowed):
            return
        kept = [
            each
            for detection in (given if self.detections else [given])
            if (each := self._kept(detection)) is not None
        ]
        if self.detections:
            ctx.send(self.kept_detections, kept)
        elif kept:
            ctx.send(self.kept_detection, kept[0])

    def _kept(self, detection: Detection) -> Detection | None:
        """What is left of a detection."""
        if len(detection.scores) < len(detection.labels):
            raise ValueError(
                f"a detection has {len(detection.scores)} scores "
                f"for {len(detection.labels)} labels"
            )
        pairs = [
            (score, label)
            for label, score in zip(detection.labels, detection.scores, strict=False)
            if self._is_kept(label, score)
        ]
        if not pairs:
            return None
        pairs.sort(key=lambda pair: -pair[0])
        return Detection(
            box=detection.box,
            scores=tuple(score for score, _ in pairs),
            labels=tuple(label for _, label in pairs),
            keypoints=detection.keypoints,
            format=detection.format,
        )

    def _is_kept(self, label: str, score: float) -> bool:
        options = self.options
        if self._allowed is not None and label not in self._allowed:
            return False
        if options.HasField("min_score") and score < options.min_score:
            return False
        return not (options.HasField("max_score") and score > options.max_score)

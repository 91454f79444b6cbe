"""How visible landmarks are is copied, told and set: VisibilityCopyCalculator,
LandmarkVisibilityCalculator, SetLandmarkVisibilityCalculator.

    node {
      calculator: "VisibilityCopyCalculator"
      input_stream: "NORM_LANDMARKS_FROM:landmarks"    # NormalizedLandmarkList
      input_stream: "LANDMARKS_TO:world"               # LandmarkList
      output_stream: "LANDMARKS_TO:world_with_it"      # LandmarkList
      node_options: {
        [type.googleapis.com/mediapipe.VisibilityCopyCalculatorOptions] {
          copy_visibility: true
          copy_presence: true
        }
      }
    }

As MediaPipe's. LANDMARKS_FROM, NORM_LANDMARKS_TO are the other kinds; what leaves has as
many landmarks as what is copied from, and the kind of what it is copied to.

The other two are of lists of one landmark, NORM_LANDMARKS, and of a float, VISIBILITY: the
one tells it, the other sets it.
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
    tagged,
)
from ovms_mp.formats.landmark import LandmarkList, NormalizedLandmarkList

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.formats.landmark import Floats

_OPTIONS: Final = graph.VisibilityCopyCalculatorOptions


class VisibilityCopyCalculator(Calculator):
    """Fails where there are fewer landmarks to copy to than to copy from."""

    timestamp_offset = 0

    norm_from = Input(NormalizedLandmarkList, "NORM_LANDMARKS_FROM", optional=True)
    world_from = Input(LandmarkList, "LANDMARKS_FROM", optional=True)
    norm_to = Input(NormalizedLandmarkList, "NORM_LANDMARKS_TO", optional=True)
    world_to = Input(LandmarkList, "LANDMARKS_TO", optional=True)
    norm_made = Output(NormalizedLandmarkList, "NORM_LANDMARKS_TO", optional=True)
    world_made = Output(LandmarkList, "LANDMARKS_TO", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One kind to copy from, and one to copy to."""
        for end in ("FROM", "TO"):
            tags = f"NORM_LANDMARKS_{end}", f"LANDMARKS_{end}"
            if sum(len(tagged(node.inputs, tag)) for tag in tags) != 1:
                raise ContractError(f"one input is needed, {tags[0]} or {tags[1]}")
        given = next(e.tag for e in node.inputs if e.tag.endswith("_TO"))
        if [each.tag for each in node.outputs] != [given]:
            raise ContractError(f"the output is {given}, as the input")

    def open(self, ctx: Context) -> None:
        """What is copied."""
        self._copies_visibility = self.options.copy_visibility
        self._copies_presence = self.options.copy_presence

    def process(self, ctx: Context) -> None:
        """Two lists."""
        source: Any = self.norm_from or self.world_from
        target: Any = self.norm_to or self.world_to
        if not ctx.has(source) or not ctx.has(target):
            return
        known, landmarks = ctx[source], ctx[target]
        count = len(known)
        if len(landmarks) < count:
            raise ValueError(
                f"{count} landmarks to copy from, and {len(landmarks)} to copy to"
            )
        if len(landmarks) > count:
            landmarks = landmarks[:count]
        visibility, presence = landmarks.visibility, landmarks.presence
        if self._copies_visibility:
            visibility = _or_zeros(known.visibility, count)
        if self._copies_presence:
            presence = _or_zeros(known.presence, count)
        made: Any = self.norm_made or self.world_made
        ctx.send(made, type(landmarks)(landmarks.points, visibility, presence))


class LandmarkVisibilityCalculator(Calculator):
    """Tells it of one landmark; 0 where it is not known."""

    timestamp_offset = 0

    landmarks = Input(NormalizedLandmarkList, "NORM_LANDMARKS")
    visibility = Output(float, "VISIBILITY")

    def process(self, ctx: Context) -> None:
        """One list of one."""
        landmarks = _one(ctx[self.landmarks])
        ctx.send(self.visibility, _or_zeros(landmarks.visibility, 1).item())


class SetLandmarkVisibilityCalculator(Calculator):
    """Sets it of one landmark."""

    timestamp_offset = 0

    landmarks = Input(NormalizedLandmarkList, "NORM_LANDMARKS")
    visibility = Input(float, "VISIBILITY")
    changed = Output(NormalizedLandmarkList, "NORM_LANDMARKS")

    def process(self, ctx: Context) -> None:
        """One list of one, and a number."""
        if not ctx.has(self.landmarks) or not ctx.has(self.visibility):
            return
        told = np.array([ctx[self.visibility]], np.float32)
        landmarks = _one(ctx[self.landmarks]).seen(told)
        ctx.send(self.changed, landmarks)


def _one(landmarks: NormalizedLandmarkList) -> NormalizedLandmarkList:
    if len(landmarks) != 1:
        raise ValueError(f"expected one landmark, found {len(landmarks)}")
    return landmarks


def _or_zeros(values: Floats | None, count: int) -> Floats:
    return np.zeros(count, np.float32) if values is None else values

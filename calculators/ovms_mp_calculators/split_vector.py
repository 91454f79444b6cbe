"""Parts of a list: the Split…VectorCalculators and Split…ListCalculators.

    node {
      calculator: "SplitFloatVectorCalculator"
      input_stream: "scores"
      output_stream: "first_two"
      output_stream: "third"
      node_options: {
        [type.googleapis.com/mediapipe.SplitVectorCalculatorOptions] {
          ranges { begin: 0 end: 2 }
          ranges { begin: 2 end: 3 }
        }
      }
    }

As MediaPipe's. Each output has the items of one of `ranges`, its end not included;
with `element_only` an item instead of a list of one; with `combine_outputs` the one
output has the items of all ranges. A list that ends before a range does is an error.

…Vector takes and gives lists; …List takes and gives landmarks (NormalizedLandmarkList, LandmarkList) and messages with
one repeated field (JointList). Where MediaPipe moves items instead of
copying them (tensors, GL buffers, Movable…), ranges may not overlap.
"""

from __future__ import annotations

from itertools import chain, combinations
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Inputs, Options, Outputs
from ovms_mp.formats.landmark import Landmarks
from ovms_mp_calculators.proto_list import item_of, joined, length_of, part_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ovms_mp.calculator import Context, Foreseen, NodeInfo, OutputPort

_OPTIONS: Final = graph.SplitVectorCalculatorOptions


class SplitVectorCalculator(Calculator):
    """Cuts lists."""

    moves: ClassVar[bool] = False

    timestamp_offset = 0

    inputs: Inputs[Any] = Inputs(list)
    outputs = Outputs(Any)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One input, and ranges that fit the outputs."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if len(node.inputs) != 1:
            raise ContractError(f"there must be one input, not {len(node.inputs)}")
        if cls.moves or options.combine_outputs:
            _check_overlap(options.ranges)
        if options.combine_outputs:
            _check_combined(node, options.ranges)
        else:
            _check_ranges(node, options)

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """Refuse a model of fewer tensors than the ranges have."""
        whole = coming.get(node.inputs[0].name)
        if whole is None:
            return {}
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        ranges = _slices(options)
        _check_length(len(whole), _least(ranges))
        parts = [whole[each] for each in ranges]
        if options.combine_outputs:
            parts = [list(chain.from_iterable(parts))]
        ports = zip(_in_order(node.outputs), parts, strict=True)
        return {port.name: part for port, part in ports}

    def open(self, ctx: Context) -> None:
        """Read the ranges."""
        options = self.options
        self._ranges = _slices(options)
        self._least = _least(self._ranges)
        self._combines = options.combine_outputs
        self._takes_items = options.element_only
        self._ordered = _in_order(self.outputs)
        self._cuts = [*zip(self._ordered, self._ranges, strict=not self._combines)]

    def process(self, ctx: Context) -> None:
        """One list."""
        whole = ctx[self.inputs[0]]
        _check_length(self._length(whole), self._least)
        if self._combines:
            ctx.send(self._ordered[0], self._joined(whole))
            return
        cut = self._item if self._takes_items else self._part
        for output, chosen in self._cuts:
            ctx.send(output, cut(whole, chosen))

    def _length(self, whole: Any) -> int:
        return len(whole)

    def _part(self, whole: Any, chosen: slice) -> Any:
        return whole[chosen]

    def _item(self, whole: Any, chosen: slice) -> Any:
        return whole[chosen.start]

    def _joined(self, whole: Any) -> Any:
        return [item for chosen in self._ranges for item in whole[chosen]]


class MovingSplitVectorCalculator(SplitVectorCalculator):
    """Where MediaPipe moves items, none can be in two parts."""

    moves = True


class SplitListCalculator(SplitVectorCalculator):
    """Cuts landmarks and messages."""

    inputs: Inputs[Any] = Inputs(Any)

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """These are no lists of tensors."""
        return {}

    def _length(self, whole: Any) -> int:
        return length_of(whole)

    def _part(self, whole: Any, chosen: slice) -> Any:
        return part_of(whole, chosen)

    def _item(self, whole: Any, chosen: slice) -> Any:
        return item_of(part_of(whole, chosen))

    def open(self, ctx: Context) -> None:
        """Read the ranges, and where their items are."""
        super().open(ctx)
        places = [range(each.start, each.stop) for each in self._ranges]
        self._places = np.array(list(chain.from_iterable(places)), np.intp)

    def process(self, ctx: Context) -> None:
        """One list: landmarks, which are cut some ten times for each frame, at once."""
        whole = ctx[self.inputs[0]]
        if not isinstance(whole, Landmarks):
            super().process(ctx)
            return
        if len(whole.points) < self._least:
            _check_length(len(whole.points), self._least)
        if self._combines:
            ctx.send(self._ordered[0], whole.take(self._places))
            return
        for output, chosen in self._cuts:
            ctx.send(output, whole[chosen])

    def _joined(self, whole: Any) -> Any:
        return joined([part_of(whole, each) for each in self._ranges])


def _slices(options: graph.SplitVectorCalculatorOptions) -> list[slice]:
    return [slice(each.begin, each.end) for each in options.ranges]


def _in_order(ports: Iterable[OutputPort[Any]]) -> list[OutputPort[Any]]:
    return sorted(ports, key=lambda port: (port.tag, port.index))


def _least(ranges: Iterable[slice]) -> int:
    return max((each.stop for each in ranges), default=0)


def _check_length(count: int, least: int) -> None:
    if count < least:
        raise ValueError(f"a list of {count} items has no range that ends at {least}")


def _check_combined(node: NodeInfo, ranges: Sequence[graph.Range]) -> None:
    if len(node.outputs) != 1:
        raise ContractError(
            f"with `combine_outputs` there is one output, not {len(node.outputs)}"
        )
    if any(not 0 <= each.begin <= each.end for each in ranges):
        raise ContractError("each of `ranges` must have 0 <= begin <= end")


def _check_ranges(node: NodeInfo, options: graph.SplitVectorCalculatorOptions) -> None:
    if len(node.outputs) != len(options.ranges):
        raise ContractError(
            f"there must be an output for each of `ranges`: {len(options.ranges)}, not "
            f"{len(node.outputs)}"
        )
    if any(not 0 <= each.begin < each.end for each in options.ranges):
        raise ContractError("each of `ranges` must have 0 <= begin < end")
    if options.element_only and any(r.end - r.begin != 1 for r in options.ranges):
        raise ContractError("with `element_only` each of `ranges` has one item")


def _check_overlap(ranges: Sequence[graph.Range]) -> None:
    for one, other in combinations(ranges, 2):
        if one.begin <= other.begin < one.end or other.begin <= one.begin < other.end:
            raise ContractError(
                f"`ranges` overlap: {one.begin} to {one.end} and {other.begin} to "
                f"{other.end}"
            )

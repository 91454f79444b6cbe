"""Scores of a model become classifications: TensorsToClassificationCalculator.

    node {
      calculator: "TensorsToClassificationCalculator"
      input_stream: "TENSORS:tensors"                   # list of one FP32 tensor
      output_stream: "CLASSIFICATIONS:classifications"  # ClassificationList
      node_options: {
        [type.googleapis.com/mediapipe.TensorsToClassificationCalculatorOptions] {
          top_k: 3
          min_score_threshold: 0.1
        }
      }
    }

As MediaPipe's. All numbers of the tensor are scores, of class 0 and on. Those below
min_score_threshold and of classes that are not allowed are left out; with top_k or
sort_by_descending_score the best come first. `label_map_path`, a file that is absolute
or in the graph's directory, `label_map` or `label_items` have a name for each class. With binary_classification there is one
score, of class 0, and class 1 has the rest to one.

The payload is the message mediapipe.ClassificationList, which nobody changes.
OpenVINOTensorsToClassificationCalculator is the same with the options of its name, which
has some of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import numpy as np
from google.protobuf.message import Message
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Input, Options, Output
from ovms_mp.core.tensor import Array
from ovms_mp_calculators.box_decoding import Floats, floats_at, foresee_floats
from ovms_mp_calculators.label_files import label_lines
from ovms_mp_calculators.model_tensors import named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator import Context, Foreseen, NodeInfo

_OPTIONS: Final = graph.TensorsToClassificationCalculatorOptions
_OPENVINO: Final = graph.OpenVINOTensorsToClassificationCalculatorOptions

Labels = dict[int, tuple[str, str]]
"""Name and display name by class."""
Graded = list[tuple[int, float]]
"""Classes and their scores."""

_UNKNOWN: Final = (None, None)


class TensorsToClassificationCalculator(Calculator):
    """Fails for another number of tensors than one, of another type than FP32, and of
    another number of scores than there are labels.
    """

    message: ClassVar[type[Any]] = _OPTIONS

    timestamp_offset = 0

    tensors: Input[list[Array]] = Input(list, "TENSORS")
    classifications: Output[Any] = Output(Message, "CLASSIFICATIONS")
    options: Options[Any] = Options(_OPTIONS)

    @classmethod
    def load(cls, node: NodeInfo) -> Labels:
        """The labels. Refuses options that exclude each other."""
        options = node.options.get(cls.message.DESCRIPTOR.full_name, cls.message())
        if options.label_map_path:
            lines = label_lines(node, options.label_map_path)
            return {number: (name, "") for number, name in enumerate(lines)}
        if not isinstance(options, _OPTIONS):
            return {}
        if options.allow_classes and options.ignore_classes:
            raise ContractError("allow_classes and ignore_classes exclude each other")
        if options.binary_classification and (
            options.allow_classes or options.ignore_classes
        ):
            raise ContractError("binary_classification takes no choice of classes")
        return _labels(options)

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """Refuse a model of other scores than there are labels."""
        options = node.options.get(cls.message.DESCRIPTOR.full_name, cls.message())
        tensors = coming.get(node.inputs[0].name)
        if tensors is None:
            return {}
        _check_count(len(tensors))
        foresee_floats(tensors)
        size = tensors[0].size
        if size is not None:
            if options.binary_classification:
                _check_binary(size)
                size = 2
            _check_labels(shared, size, tensors[0].whose)
        return {}

    def open(self, ctx: Context) -> None:
        """How much is wanted."""
        options = self.options
        has_all = isinstance(options, _OPTIONS)
        self._allowed = frozenset(options.allow_classes if has_all else ())
        self._ignored = frozenset(options.ignore_classes if has_all else ())
        self._most = options.top_k
        self._is_sorted = options.top_k > 0 or (
            has_all and options.sort_by_descending_score
        )
        self._is_binary = options.binary_classification
        self._least = np.float32(np.finfo(np.float32).min)
        if options.HasField("min_score_threshold"):
            self._least = np.float32(options.min_score_threshold)

    def process(self, ctx: Context) -> None:
        """One set of tensors."""
        if not ctx.has(self.tensors):
            return
        tensors = ctx[self.tensors]
        _check_count(len(tensors))
        given = floats_at(tensors, 0)
        count = given.size
        if self._is_binary:
            _check_binary(count)
            count = 2
        labels = cast("Labels", self.shared)
        if labels and len(labels) != count:
            _check_labels(labels, count, named(tensors, 0))
        chosen = self._both(given) if self._is_binary else self._chosen(given.ravel())
        made = graph.ClassificationList()
        for number, score in chosen:
            name, shown = labels.get(number, _UNKNOWN)
            if labels and name is None:
                raise ValueError(f"class {number} has no label")
            made.classification.add(
                index=number, score=score, label=name, display_name=shown or None
            )
        ctx.send(self.classifications, made)

    def _both(self, given: Floats) -> Graded:
        """Of one score, and the rest to one."""
        score: float = given.item()
        both = [(0, score), (1, 1.0 - score)]
        if self._is_sorted and both[1][1] > score:
            both.reverse()
        return both[: self._most] if self._most > 0 else both

    def _chosen(self, scores: Floats) -> Graded:
        """The classes that are told, in their order, and their scores."""
        # What is no number is not below a threshold.
        is_kept = ~(scores < self._least)
        if self._allowed:
            is_kept &= np.isin(np.arange(len(scores)), list(self._allowed))
        elif self._ignored:
            is_kept &= ~np.isin(np.arange(len(scores)), list(self._ignored))
        chosen = is_kept.nonzero()[0]
        if self._is_sorted:
            # As Python's sort: the first of equal ones stays the first.
            chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
        if self._most > 0:
            chosen = chosen[: self._most]
        return list(zip(chosen.tolist(), scores[chosen].tolist(), strict=True))


class OpenVINOTensorsToClassificationCalculator(TensorsToClassificationCalculator):
    """The same by the name that OVMS's graphs have."""

    message = cast("type[Any]", _OPENVINO)
    options: Options[Any] = Options(_OPENVINO)


def _labels(options: graph.TensorsToClassificationCalculatorOptions) -> Labels:
    if options.label_items:
        return {
            number: (item.name, item.display_name)
            for number, item in options.label_items.items()
        }
    found: Labels = {}
    for entry in options.label_map.entries:
        if entry.id in found:
            raise ContractError(f"label_map has id {entry.id} twice")
        found[entry.id] = entry.label, ""
    return found


def _check_count(count: int) -> None:
    if count != 1:
        raise ValueError(f"{count} tensors; expected 1")


def _check_binary(count: int) -> None:
    if count != 1:
        raise ValueError(f"{count} scores; binary_classification takes 1")


def _check_labels(labels: Labels, count: int, whose: str) -> None:
    if labels and len(labels) != count:
        raise ValueError(f"{whose} has {count} scores for {len(labels)} labels")

"""What a detector gives becomes detections: TensorsToDetectionsCalculator.

    node {
      calculator: "TensorsToDetectionsCalculator"
      input_stream: "TENSORS:tensors"            # list of FP32: boxes, scores
      input_side_packet: "ANCHORS:anchors"       # [n, 4], of a SsdAnchorsCalculator
      output_stream: "DETECTIONS:detections"     # list of Detection, may be empty
      node_options: {
        [type.googleapis.com/mediapipe.TensorsToDetectionsCalculatorOptions] {
          num_classes: 1
          num_boxes: 896
          num_coords: 16
          keypoint_coord_offset: 4
          num_keypoints: 6
          x_scale: 128
          y_scale: 128
          w_scale: 128
          h_scale: 128
          sigmoid_score: true
          score_clipping_thresh: 100
          min_score_thresh: 0.5
          reverse_output_order: true
        }
      }
    }

As MediaPipe's on a CPU. Two tensors are boxes [1, n, coords] and scores [1, n, classes];
a third one has anchors [n, 4] as y_center, x_center, h, w. Four are of a model that has
its own suppression: boxes [1, n, coords] of ymin, xmin, ymax, xmax, classes [1, n], scores
[1, n] and the number of boxes [1].

Boxes whose score is below min_score_thresh, whose class is not allowed, and those of
negative or no width or height, are left out. A score that is no number is the least one.

OpenVINOTensorsToDetectionsCalculator is the same with the options of its name, which has
some of these.
"""

from __future__ import annotations

from array import array
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, cast

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    Output,
    SideInput,
    TensorInfo,
    tagged,
)
from ovms_mp.formats.detection import NO_KEYPOINTS, Box, Detection
from ovms_mp_calculators import box_decoding
from ovms_mp_calculators.box_decoding import Coding, Floats, Places
from ovms_mp_calculators.model_tensors import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ovms_mp.calculator import Context, Foreseen, InferenceSession, NodeInfo
    from ovms_mp.core.tensor import Array

_OPTIONS: Final = graph.TensorsToDetectionsCalculatorOptions
_OPENVINO: Final = graph.OpenVINOTensorsToDetectionsCalculatorOptions
_LEAST: Final = np.float32(np.finfo(np.float32).min)
_ONE: Final = np.float32(1)
_NO_CLASS: Final = -1
_NO_ANCHORS: Final = "No anchor data available."

_Graded: TypeAlias = tuple[tuple[float, ...], tuple[int, ...]]


class TensorsToDetectionsCalculator(Calculator):
    """Fails when the tensors have not the shapes that the options say."""

    message: ClassVar[type[Any]] = _OPTIONS

    timestamp_offset = 0

    tensors: Input[list[Array]] = Input(list, "TENSORS")
    anchors: SideInput[Floats] = SideInput(np.ndarray, "ANCHORS", optional=True)
    ignored: SideInput[list[int]] = SideInput(list, "IGNORE_CLASSES", optional=True)
    detections: Output[list[Detection]] = Output(list, "DETECTIONS")
    options: Options[Any] = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Refuse numbers that contradict each other."""
        options = node.options.get(cls.message.DESCRIPTOR.full_name, cls.message())
        coding = Coding.of(options)
        box_decoding.check(coding)
        has_side = bool(tagged(node.side_inputs, "IGNORE_CLASSES"))
        if coding.allowed and (coding.ignored or has_side):
            raise ContractError("allow_classes and ignored classes exclude each other")

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """Rows of a box, a score, a class, and key points."""
        options = node.options.get(cls.message.DESCRIPTOR.full_name, cls.message())
        columns = 6 + 2 * options.num_keypoints
        names = (each.name for each in tagged(node.outputs, "DETECTIONS"))
        return {name: TensorInfo(name, "FP32", (-1, columns)) for name in names}

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """Refuse a model, and anchors, of other numbers than the options say."""
        options = node.options.get(cls.message.DESCRIPTOR.full_name, cls.message())
        coding = Coding.of(options)
        ports = tagged(node.side_inputs, "ANCHORS")
        anchors = side_packets.get(ports[0].name) if ports else None
        if isinstance(anchors, np.ndarray) and coding.num_boxes:
            _check_anchors(cast("Array", anchors).shape, coding)
        tensors = coming.get(tagged(node.inputs, "TENSORS")[0].name)
        if tensors is None:
            return {}
        box_decoding.foresee_floats(tensors)
        _check_count(len(tensors), coding)
        if len(tensors) == 4:
            _foresee_given(tensors, coding)
            return {}
        if len(tensors) == 2 and not ports:
            raise ValueError(_NO_ANCHORS)
        boxes, scores = coding.place("detections"), coding.place("scores", 1)
        box_decoding.foresee_rows(tensors[boxes], coding.num_boxes, coding.num_coords)
        box_decoding.foresee_rows(tensors[scores], coding.num_boxes, coding.num_classes)
        return {}

    def open(self, ctx: Context) -> None:
        """Learn how to read the tensors."""
        self._coding = Coding.of(self.options)
        self._anchors = (
            ctx.side(self.anchors)
            if self.anchors and ctx.has_side(self.anchors)
            else None
        )
        self._excluded = self._coding.ignored
        if self.ignored and ctx.has_side(self.ignored):
            self._excluded = frozenset(ctx.side(self.ignored))
        count = range(self._coding.num_classes)
        self._classes = np.array([each for each in count if self._is_allowed(each)])
        self._takes_any = self._is_allowed(_NO_CLASS)
        only = len(self._classes) == 1  # as of most models here
        self._label = int(self._classes[0]) if only else None
        least = self._coding.min_score
        self._least = None if least is None else np.array(least, np.float32)
        self._logit = self._coding.least_logit
        self._kinds: list[Any] | None = None
        self._places = 0, 1

    def _is_allowed(self, number: int) -> bool:
        if self._coding.allowed:
            return number in self._coding.allowed
        return number not in self._excluded

    def process(self, ctx: Context) -> None:
        """One set of tensors."""
        if not ctx.has(self.tensors):
            return
        tensors = cast("list[Floats]", ctx[self.tensors])
        kinds = [
            (type(each), getattr(each, "dtype", None), getattr(each, "shape", None))
            for each in tensors
        ]
        if kinds != self._kinds:  # others than those before
            self._check_given(tensors)
            self._kinds = kinds
        read = self._given if len(tensors) == 4 else self._decoded
        with np.errstate(over="ignore", invalid="ignore"):
            found = read(tensors)
        ctx.send(self.detections, found)

    def _check_given(self, tensors: Sequence[Floats]) -> None:
        """Raises ValueError and TypeError for tensors of other types and shapes."""
        coding = self._coding
        for place in range(len(tensors)):
            box_decoding.floats_at(tensors, place)
        _check_count(len(tensors), coding)
        if len(tensors) == 4:
            return
        boxes, scores = coding.place("detections"), coding.place("scores", 1)
        box_decoding.check_rows(tensors, boxes, coding.num_boxes, coding.num_coords)
        box_decoding.check_rows(tensors, scores, coding.num_boxes, coding.num_classes)
        anchors = self._anchors
        if len(tensors) == 3:
            anchors = box_decoding.anchors_of(tensors[coding.place("anchors")])
        if anchors is None:
            raise ValueError(_NO_ANCHORS)
        _check_anchors(anchors.shape, coding)
        self._places = boxes, scores

    def _decoded(self, tensors: Sequence[Floats]) -> list[Detection]:
        coding = self._coding
        given, (boxes, scores) = list(tensors), self._places
        # An inference leaves nothing of this in the caches: each call takes ten times as
        # long as in a loop, so there are few.
        rows = given[boxes].reshape(coding.num_boxes, coding.num_coords)
        columns = given[scores].reshape(coding.num_boxes, coding.num_classes)
        chosen, every = self._few(columns) or self._good(columns)
        if not every:
            return []
        anchors = self._anchors
        if len(given) == 3 or anchors is None:
            anchors = box_decoding.anchors_of(given[coding.place("anchors")])
        places = box_decoding.decoded(
            rows.take(chosen, axis=0), anchors.take(chosen, axis=0), coding
        )
        return self._detections(places, every)

    def _few(self, scores: Floats) -> tuple[Array, list[_Graded]] | None:
        """As `_good`, where it can be told of what the model gives that most boxes are
        not: these are not activated.
        """
        label, logit, least = self._label, self._logit, self._coding.min_score
        if label is None or logit is None or least is None:
            return None
        scores = scores[:, label]
        near = (scores >= logit).nonzero()[0]
        if not len(near):
            return near, []
        listed = box_decoding.activated_few(scores.take(near))
        if min(listed) < least:
            good = [each >= least for each in listed]
            near, listed = near[good], list(compress(listed, good))
        return near, [((score,), (label,)) for score in listed]

    def _good(self, scores: Floats) -> tuple[Array, list[_Graded]]:
        """Places of the boxes that are good enough, and how they are graded."""
        best, classes = self._best(scores)
        chosen = self._above(best, classes)
        graded = zip(
            best.take(chosen).tolist(), classes.take(chosen).tolist(), strict=True
        )
        return chosen, [((score,), (label,)) for score, label in graded]

    def _best(self, scores: Floats) -> tuple[Floats, Array]:
        """Score and class of each box: the first of its best that is allowed."""
        count = len(scores)
        if not len(self._classes):
            return np.full(count, _LEAST, np.float32), np.full(count, _NO_CLASS)
        if self._label is not None:
            values = box_decoding.activated(scores[:, self._label], self._coding)
            best = np.fmax(values, _LEAST)  # what is no number, too
            return best, np.where(best > _LEAST, self._label, _NO_CLASS)
        values = box_decoding.activated(scores[:, self._classes], self._coding)
        values = np.fmax(values, _LEAST)
        places = values.argmax(axis=1)
        best = values[np.arange(count), places]
        return best, np.where(best > _LEAST, self._classes[places], _NO_CLASS)

    def _above(self, scores: Floats, classes: Array) -> Array:
        """Places of the boxes that are good enough."""
        if self._least is None:
            good = np.ones(len(scores), bool)
        else:
            good = scores >= self._least
        if not self._takes_any:
            good &= classes != _NO_CLASS
        return good.nonzero()[0]

    def _given(self, tensors: Sequence[Floats]) -> list[Detection]:
        """Of a model with a suppression of its own; each box may be there for several
        classes, one behind the other.
        """
        coding = self._coding
        places = (
            coding.place("detections"),
            coding.place("classes"),
            coding.place("scores", 2),
            coding.place("num_detections"),
        )
        boxes, classes, scores, number = (tensors[place] for place in places)
        most = boxes.shape[1] if boxes.ndim == 3 else 0
        shapes = (1, most, coding.num_coords), (1, most), (1, most), (1,)
        for place, shape in zip(places, shapes, strict=True):
            box_decoding.expect(named(tensors, place), tensors[place], shape)
        each_box = coding.classes_per_box
        if not 0 <= number[0] * each_box <= most:
            raise ValueError(
                f"{number[0]:g} boxes; the tensors have {most // each_box}"
            )
        count = int(number[0])
        kept = slice(count * each_box)
        every = zip(
            scores[0, kept].reshape(count, each_box).tolist(),
            classes[0, kept].reshape(count, each_box).astype(np.int64).tolist(),
            strict=True,
        )
        return self._detections(
            box_decoding.as_they_are(boxes[0, kept][::each_box], coding),
            [self._kept(*graded) for graded in every],
        )

    def _kept(self, scores: Sequence[float], labels: Sequence[int]) -> _Graded:
        """Those that are good enough, and their labels."""
        least = self._coding.min_score
        pairs = [
            (score, label)
            for score, label in zip(scores, labels, strict=True)
            if (least is None or score >= least) and self._is_allowed(label)
        ]
        return tuple([one for one, _ in pairs]), tuple([label for _, label in pairs])

    def _detections(self, places: Places, every: Sequence[_Graded]) -> list[Detection]:
        """With the scores and labels of each; those without any are left out."""
        coding = self._coding
        corners, points = places
        if coding.flip_vertically:
            points = points.copy()
            points[..., 1] = _ONE - points[..., 1]
        points.flags.writeable = False
        keypoints: Iterable[Floats] = (
            points if coding.num_keypoints else repeat(NO_KEYPOINTS)
        )
        found: list[Detection] = []
        for (xmin, ymin, xmax, ymax), (scores, labels), its in zip(
            corners, every, keypoints, strict=False
        ):
            top = 1 - ymax if coding.flip_vertically else ymin
            width, height, top = array("f", (xmax - xmin, ymax - ymin, top))
            if not (width >= 0 and height >= 0):
                continue
            if coding.max_results >= 0 and len(found) == coding.max_results:
                break
            if scores:
                found.append(
                    Detection(
                        Box(xmin, top, width, height), scores, labels, keypoints=its
                    )
                )
        return found


def _check_count(count: int, coding: Coding) -> None:
    """Raises ValueError for a number of tensors that nothing can be made of."""
    if count not in {2, 3, 4}:
        raise ValueError(f"{count} tensors; expected 2, 3 or 4")
    if any(place >= count for place in coding.mapping.values()):
        raise ValueError(
            f"{count} tensors; tensor_mapping numbers {len(coding.mapping)}"
        )
    if count == 4:
        return
    if coding.box_indices != (0, 1, 2, 3):
        raise ValueError("box_boundaries_indices are for models of four tensors")
    if not coding.num_boxes:
        raise ValueError("Please set num_boxes in calculator options")


def _check_anchors(shape: tuple[int, ...], coding: Coding) -> None:
    if shape != (coding.num_boxes, 4):
        raise ValueError(
            f"anchors of shape {list(shape)}; expected [{coding.num_boxes}, 4]"
        )


def _foresee_given(tensors: Sequence[Foreseen], coding: Coding) -> None:
    """Raises ValueError for tensors that no model with a suppression of its own gives."""
    expected = (
        (coding.place("detections"), (1, -1, coding.num_coords)),
        (coding.place("classes"), (1, -1)),
        (coding.place("scores", 2), (1, -1)),
        (coding.place("num_detections"), (1,)),
    )
    for place, shape in expected:
        box_decoding.foresee_shape(tensors[place], shape)


class OpenVINOTensorsToDetectionsCalculator(TensorsToDetectionsCalculator):
    """The same by the name that OVMS's graphs have."""

    message = cast("type[Any]", _OPENVINO)
    options: Options[Any] = Options(_OPENVINO)

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

from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

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
from ovms_mp_calculators.box_decoding import Coding, Floats
from ovms_mp_calculators.model_tensors import named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator import Context, Foreseen, InferenceSession, NodeInfo
    from ovms_mp.core.tensor import Array

_OPTIONS: Final = graph.TensorsToDetectionsCalculatorOptions
_OPENVINO: Final = graph.OpenVINOTensorsToDetectionsCalculatorOptions
_LEAST: Final = np.float32(np.finfo(np.float32).min)
_NO_CLASS: Final = -1
_NO_ANCHORS: Final = "No anchor data available."


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

    def _is_allowed(self, number: int) -> bool:
        if self._coding.allowed:
            return number in self._coding.allowed
        return number not in self._excluded

    def process(self, ctx: Context) -> None:
        """One set of tensors."""
        if not ctx.has(self.tensors):
            return
        given = ctx[self.tensors]
        whose = [named(given, place) for place in range(len(given))]
        tensors = list(map(box_decoding.as_floats, given, whose))
        with np.errstate(over="ignore", invalid="ignore"):
            _check_count(len(tensors), self._coding)
            if len(tensors) == 4:
                found = self._given(tensors, whose)
            else:
                found = self._decoded(tensors, whose)
        ctx.send(self.detections, found)

    def _decoded(
        self, tensors: Sequence[Floats], whose: Sequence[str]
    ) -> list[Detection]:
        coding = self._coding
        place = coding.place("detections")
        boxes = box_decoding.rows(
            tensors[place], coding.num_boxes, coding.num_coords, whose[place]
        )
        place = coding.place("scores", 1)
        scores = box_decoding.rows(
            tensors[place], coding.num_boxes, coding.num_classes, whose[place]
        )
        anchors = self._anchors
        if len(tensors) == 3:
            anchors = box_decoding.anchors_of(tensors[coding.place("anchors")])
        if anchors is None:
            raise ValueError(_NO_ANCHORS)
        _check_anchors(anchors.shape, coding)
        best, classes = self._best(scores)
        chosen = self._above(best, classes)
        if not len(chosen):
            return []
        decoded = box_decoding.decoded(
            boxes.take(chosen, axis=0), anchors.take(chosen, axis=0), coding
        )
        scores = best.take(chosen)[:, np.newaxis]
        return self._detections(decoded, scores, classes.take(chosen)[:, np.newaxis])

    def _best(self, scores: Floats) -> tuple[Floats, Array]:
        """Score and class of each box: the first of its best that is allowed."""
        count = len(scores)
        if not len(self._classes):
            return np.full(count, _LEAST, np.float32), np.full(count, _NO_CLASS)
        if len(self._classes) == 1:  # as of most models here
            number = self._classes[0]
            values = box_decoding.activated(scores[:, number], self._coding)
            best = np.fmax(values, _LEAST)  # what is no number, too
            return best, np.where(best > _LEAST, number, _NO_CLASS)
        values = box_decoding.activated(scores[:, self._classes], self._coding)
        values = np.fmax(values, _LEAST)
        places = values.argmax(axis=1)
        best = values[np.arange(count), places]
        return best, np.where(best > _LEAST, self._classes[places], _NO_CLASS)

    def _above(self, scores: Floats, classes: Array) -> Array:
        """Places of the boxes that are good enough."""
        threshold = self._coding.min_score
        if threshold is None:
            good = np.ones(len(scores), bool)
        else:
            good = scores >= np.float32(threshold)
        if self._coding.allowed:
            good &= np.isin(classes, list(self._coding.allowed))
        return np.flatnonzero(good)

    def _given(
        self, tensors: Sequence[Floats], whose: Sequence[str]
    ) -> list[Detection]:
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
            box_decoding.expect(whose[place], tensors[place], shape)
        each_box = coding.classes_per_box
        if not 0 <= number[0] * each_box <= most:
            raise ValueError(
                f"{number[0]:g} boxes; the tensors have {most // each_box}"
            )
        count = int(number[0])
        kept = slice(count * each_box)
        return self._detections(
            boxes[0, kept][::each_box],
            scores[0, kept].reshape(count, each_box),
            classes[0, kept].reshape(count, each_box).astype(np.int64),
        )

    def _detections(
        self, boxes: Floats, scores: Floats, classes: Array
    ) -> list[Detection]:
        """`boxes` are ymin, xmin, ymax, xmax and the rest of the row."""
        coding = self._coding
        if coding.box_indices != (0, 1, 2, 3):
            corners = boxes[:, coding.box_indices]
        else:
            corners = boxes[:, :4]
        sides = corners[:, 2:] - corners[:, :2]
        tops = corners[:, 0]
        if coding.flip_vertically:
            tops = np.float32(1) - corners[:, 2]
        places = zip(corners[:, 1].tolist(), tops.tolist(), sides.tolist(), strict=True)
        points = self._keypoints(boxes)
        every = zip(scores.tolist(), classes.tolist(), strict=True)
        found: list[Detection] = []
        for number, ((xmin, ymin, (height, width)), graded) in enumerate(
            zip(places, every, strict=True)
        ):
            if not (width >= 0 and height >= 0):
                continue
            if coding.max_results >= 0 and len(found) == coding.max_results:
                break
            pairs = [pair for pair in zip(*graded, strict=True) if self._is_kept(*pair)]
            if pairs:
                found.append(
                    Detection(
                        Box(xmin, ymin, width, height),
                        tuple([score for score, _ in pairs]),
                        tuple([label for _, label in pairs]),
                        keypoints=NO_KEYPOINTS if points is None else points[number],
                    )
                )
        return found

    def _is_kept(self, score: float, number: int) -> bool:
        threshold = self._coding.min_score
        is_good = threshold is None or score >= threshold
        return is_good and self._is_allowed(number)

    def _keypoints(self, boxes: Floats) -> Floats | None:
        """[n, k, 2]: x and y, or None where there are none."""
        coding = self._coding
        if not coding.num_keypoints:
            return None
        begin = coding.keypoint_offset
        flat = boxes[:, begin : begin + 2 * coding.num_keypoints]
        points = flat.reshape(len(boxes), coding.num_keypoints, 2).copy()
        if coding.flip_vertically:
            points[..., 1] = np.float32(1) - points[..., 1]
        points.flags.writeable = False
        return points


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

"""Texts in an image, for the models of PP-OCR: where they are, what a reader takes, and
what it has read.

Calculators of a folder: a server finds them with --calculators_path.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ovms_mp.calculator import Calculator, ContractError, Input, Output, TensorInfo
from ovms_mp.core.image import ImageFormat, ImageFrame
from ovms_mp.formats.rect import NormalizedRect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ovms_mp.calculator import Context, InferenceSession, NodeInfo

Floats = NDArray[np.float32]

# As PP-OCR has them.
_TEXT: Final = 0.3  # a pixel is text
_BOX: Final = 0.5  # and so are those of a box, in the mean
_GROWTH: Final = 1.6  # boxes are found shrunken
_MIN_SIDE: Final = 3  # pixels of the detector
_MAX_BOXES: Final = 200
_UPRIGHT: Final = 1.5  # a box so much higher than wide is a line on its side

_HEIGHT: Final = 48  # of a line, for the reader
_WIDTHS: Final = 160  # lines have multiples of it, since each new width is a new shape
_MAX_WIDTH: Final = 1920
_READ: Final = 0.5  # of a text that is told

_DICTIONARY: Final = "text_recognition.txt"


class TextBoxesCalculator(Calculator):
    """The boxes of a detector's map, in reading order.

    `map` is FP32 [1, 1, height, width], how much each pixel is text; `matrix` float32
    [4, 4] leads from fractions of the map to those of the image, as
    ImageToTensorCalculator gives it.
    """

    timestamp_offset = 0

    map: Input[list[Floats]] = Input(list, "TENSORS")
    matrix: Input[Floats] = Input(np.ndarray, "MATRIX")
    size: Input[tuple[int, int]] = Input(tuple, "IMAGE_SIZE")
    boxes: Output[list[NormalizedRect]] = Output(list, "NORM_RECTS")

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """A row of each box."""
        name = node.outputs[0].name
        return {name: TensorInfo(name, "FP32", (-1, 5))}

    def process(self, ctx: Context) -> None:
        """One map."""
        if not (ctx.has(self.map) and ctx.has(self.matrix) and ctx.has(self.size)):
            return
        (tensor,) = ctx[self.map]
        if tensor.ndim != 4 or tensor.shape[:2] != (1, 1):
            raise ValueError(
                f"a map of shape {list(tensor.shape)}; expected [1, 1, height, width]"
            )
        found = list(_boxes(tensor[0, 0]))[:_MAX_BOXES]
        matrix, size = ctx[self.matrix].astype(float), ctx[self.size]
        rects = [_in_image(box, tensor.shape[2:], matrix, size) for box in found]
        ctx.send(self.boxes, _in_reading_order(rects, size))


class TextLinesCalculator(Calculator):
    """What is in the boxes, as the reader takes it: FP32 [1, 48, width, 3], BGR of -1 to
    1, as long as the text is, and grey behind it.
    """

    timestamp_offset = 0

    frame = Input(ImageFrame, "IMAGE")
    boxes: Input[list[NormalizedRect]] = Input(list, "NORM_RECTS")
    lines: Output[list[Floats]] = Output(list, "TENSORS")

    def process(self, ctx: Context) -> None:
        """One image."""
        if not (ctx.has(self.frame) and ctx.has(self.boxes)):
            return
        frame = ctx[self.frame]
        if frame.format is not ImageFormat.SRGB:
            raise ValueError(f"an image of {frame.format.name}; expected SRGB")
        ctx.send(self.lines, [_line(frame, each) for each in ctx[self.boxes]])


class TextsCalculator(Calculator):
    """What the reader has read: texts, and how sure it is; nothing of no boxes.

    `read` has for each box FP32 [1, steps, characters], the shares of all characters at
    each step: of none, of those in the dictionary, and of a blank. What is less sure than
    one half is an empty text.
    """

    timestamp_offset = 0

    boxes: Input[list[NormalizedRect]] = Input(list, "NORM_RECTS")
    read: Input[list[Floats]] = Input(list, "TENSORS")
    texts: Output[list[str]] = Output(list, "TEXTS")
    scores: Output[Floats] = Output(np.ndarray, "SCORES")

    @classmethod
    def load(cls, node: NodeInfo) -> list[str]:
        """The characters, from the file beside the graph."""
        try:
            text = (node.base_path / _DICTIONARY).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ContractError(f'"{_DICTIONARY}" cannot be read') from error
        return ["", *text.removesuffix("\n").split("\n"), " "]

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """A text and a number of each box."""
        datatypes = {"TEXTS": "BYTES", "SCORES": "FP32"}
        return {
            port.name: TensorInfo(port.name, datatypes[port.tag], (-1,))
            for port in node.outputs
        }

    def process(self, ctx: Context) -> None:
        """The lines of one image."""
        if not ctx.has(self.boxes):
            return
        # A loop over nothing ends without a packet.
        found = [self._text(each) for each in ctx.get(self.read) or ()]
        ctx.send(self.texts, [text for text, _ in found])
        ctx.send(self.scores, np.array([score for _, score in found], np.float32))

    def _text(self, shares: Floats) -> tuple[str, float]:
        characters = cast("list[str]", self.shared)
        if shares.ndim != 3 or shares.shape[::2] != (1, len(characters)):
            raise ValueError(
                f"a reading of shape {list(shares.shape)}; "
                f"expected [1, steps, {len(characters)}]"
            )
        steps = shares[0].argmax(axis=1)
        # A character lasts for some steps; the same one again follows none.
        is_new = (steps != 0) & (np.diff(steps, prepend=0) != 0)
        best = shares[0].max(axis=1)[is_new]
        if not len(best) or best.mean() < _READ:
            return "", float(best.mean()) if len(best) else 0.0
        return "".join(characters[each] for each in steps[is_new].tolist()), float(
            best.mean()
        )


def _boxes(shares: Floats) -> Iterator[tuple[Any, Any, float]]:
    """Centre, size and clockwise degrees of each text, in pixels of the map."""
    mask = (shares > _TEXT).astype(np.uint8)
    mask = cv2.dilate(mask, np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        center, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < _MIN_SIDE:
            continue
        corners: Any = cv2.boxPoints((center, (width, height), angle))
        if _mean(shares, corners) < _BOX:
            continue
        grown = width * height * _GROWTH / (2 * (width + height)) * 2
        yield center, *_levelled(width + grown, height + grown, angle)


def _mean(shares: Floats, corners: Floats) -> float:
    """Of the pixels between the corners."""
    height, width = shares.shape
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, [width - 1, height - 1])
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, [width - 1, height - 1])
    part = shares[low[1] : high[1] + 1, low[0] : high[0] + 1]
    inside = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(inside, [(corners - low).astype(np.int32)], 1)
    return float(cv2.mean(part, inside)[0])


def _levelled(
    width: float, height: float, angle: float
) -> tuple[tuple[float, float], float]:
    """The same box, turned by less than 45 degrees; a line on its side is turned so that
    it reads from left to right.
    """
    while angle > 45:
        width, height, angle = height, width, angle - 90
    if height > _UPRIGHT * width:
        width, height, angle = height, width, angle + 90
    return (width, height), angle


def _in_image(
    box: tuple[Any, Any, float],
    shape: Sequence[int],
    matrix: NDArray[np.float64],
    size: tuple[int, int],
) -> NormalizedRect:
    """The image is scaled in the map, and as much in both directions."""
    (x, y), (width, height), angle = box
    place = matrix @ [x / shape[1], y / shape[0], 0, 1]
    scale = matrix[0, 0] * size[0] / shape[1]
    return NormalizedRect(
        place[0],
        place[1],
        width * scale / size[0],
        height * scale / size[1],
        math.radians(angle),
    )


def _in_reading_order(
    rects: Sequence[NormalizedRect], size: tuple[int, int]
) -> list[NormalizedRect]:
    """Line by line: what begins within half a line's height is in one line."""
    lines: list[list[NormalizedRect]] = []
    for rect in sorted(rects, key=lambda each: each.y_center):
        height = min(rect.height, rect.width * size[0] / size[1])
        if lines and rect.y_center - lines[-1][0].y_center < height / 2:
            lines[-1].append(rect)
        else:
            lines.append([rect])
    return [
        rect for line in lines for rect in sorted(line, key=lambda each: each.x_center)
    ]


def _line(frame: ImageFrame, rect: NormalizedRect) -> Floats:
    width, height = rect.width * frame.width, rect.height * frame.height
    long = min(max(round(_HEIGHT * width / max(height, 1)), 1), _MAX_WIDTH)
    box = (
        (rect.x_center * frame.width, rect.y_center * frame.height),
        (width, height),
        math.degrees(rect.rotation),
    )
    corners = cv2.boxPoints(box)
    target = np.array([(0, _HEIGHT), (0, 0), (long, 0), (long, _HEIGHT)], np.float32)
    projection = cv2.getPerspectiveTransform(corners, target)
    part = cv2.warpPerspective(
        frame.pixels,
        projection,
        (long, _HEIGHT),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    padded = math.ceil(long / _WIDTHS) * _WIDTHS
    line = np.zeros((1, _HEIGHT, padded, 3), np.float32)
    line[0, :, :long] = part[..., ::-1].astype(np.float32) / np.float32(127.5) - 1
    return line

"""Values become MediaPipe's messages and messages become values, where a graph meets
those who speak protobuf: native code, and programs written for mediapipe.

Which descriptor pool the messages are of is the caller's choice.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from ovms_mp.formats import render_data
from ovms_mp.formats.detection import (
    NO_KEYPOINTS,
    WHOLE_IMAGE,
    Box,
    Detection,
    LocationFormat,
)
from ovms_mp.formats.landmark import LandmarkList, Landmarks, NormalizedLandmarkList
from ovms_mp.formats.rect import NormalizedRect, Rect
from ovms_mp.formats.render_data import RenderAnnotation, RenderData

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf.message import Message

# Fields of RenderAnnotation's oneof, by what stands in them.
_SHAPES: Final[Mapping[str, type[Any]]] = {
    "rectangle": render_data.Rectangle,
    "filled_rectangle": render_data.FilledRectangle,
    "oval": render_data.Oval,
    "filled_oval": render_data.FilledOval,
    "point": render_data.Point,
    "line": render_data.Line,
    "arrow": render_data.Arrow,
    "text": render_data.Text,
    "rounded_rectangle": render_data.RoundedRectangle,
    "filled_rounded_rectangle": render_data.FilledRoundedRectangle,
    "gradient_line": render_data.GradientLine,
    "scribble": render_data.Scribble,
}
_SHAPE_FIELDS: Final = {kind: name for name, kind in _SHAPES.items()}
_NESTED: Final[Mapping[str, type[Any]]] = {
    **_SHAPES,
    "color": render_data.Color,
    "fill_color": render_data.Color,
    "outline_color": render_data.Color,
    "color1": render_data.Color,
    "color2": render_data.Color,
}


def message_name(payload: object) -> str:
    """The full name of the message for a value, or an empty text."""
    return _NAMES.get(type(payload), "")


def to_message(payload: object, class_of: Callable[[str], type[Message]]) -> Message:
    """The message for a value; `class_of` gives a message's class by its full name.

    Raises TypeError for a value that has none (see `message_name`).
    """
    name = message_name(payload)
    if not name:
        msg = f"there is no message for {type(payload).__name__}"
        raise TypeError(msg)
    message: Any = class_of(name)()
    _WRITE[type(payload)](payload, message)
    return cast("Message", message)


def from_message(message: Message) -> Any:
    """The value of a message, or the message itself when it stands for none.

    Raises ValueError for a detection whose location is a mask.
    """
    read = _READ.get(message.DESCRIPTOR.full_name)
    return message if read is None else read(message)


def detection_of(message: Any) -> Detection:
    """The value of a mediapipe.Detection. Raises ValueError as `from_message`."""
    location = message.location_data
    if location.format == 3:
        raise ValueError("detections whose location is a MASK are not supported")
    form = LocationFormat(location.format)
    box = WHOLE_IMAGE
    if form is not LocationFormat.GLOBAL:
        given = (
            location.relative_bounding_box
            if form is LocationFormat.RELATIVE_BOUNDING_BOX
            else location.bounding_box
        )
        box = Box(given.xmin, given.ymin, given.width, given.height)
    points = [(each.x, each.y) for each in location.relative_keypoints]
    has_id = message.HasField("detection_id")
    has_time = message.HasField("timestamp_usec")
    return Detection(
        box=box,
        scores=tuple(message.score),
        label_ids=tuple(message.label_id),
        labels=tuple(message.label),
        keypoints=np.array(points, np.float32) if points else NO_KEYPOINTS,
        format=form,
        display_names=tuple(message.display_name),
        feature_tag=message.feature_tag,
        track_id=message.track_id,
        detection_id=message.detection_id if has_id else None,
        timestamp_usec=message.timestamp_usec if has_time else None,
    )


def _write_detection(value: Detection, message: Any) -> None:
    message.score.extend(value.scores)
    message.label_id.extend(value.label_ids)
    message.label.extend(value.labels)
    message.display_name.extend(value.display_names)
    location = message.location_data
    location.format = value.format.value
    if value.format is LocationFormat.RELATIVE_BOUNDING_BOX:
        _set_box(location.relative_bounding_box, value.box)
    elif value.format is LocationFormat.BOUNDING_BOX:
        _set_box(location.bounding_box, [int(each) for each in value.box])
    for x, y in value.keypoints.tolist():
        location.relative_keypoints.add(x=x, y=y)
    for name in ("feature_tag", "track_id", "detection_id", "timestamp_usec"):
        if (given := getattr(value, name)) not in (None, ""):
            setattr(message, name, given)


def _set_box(message: Any, box: Sequence[float]) -> None:
    message.xmin, message.ymin, message.width, message.height = box


def _write_rect(value: NormalizedRect | Rect, message: Any) -> None:
    for name in ("x_center", "y_center", "width", "height", "rotation"):
        setattr(message, name, getattr(value, name))
    if value.rect_id is not None:
        message.rect_id = value.rect_id


def _rect(kind: type[Any]) -> Callable[[Any], Any]:
    def read(message: Any) -> Any:
        return kind(
            message.x_center,
            message.y_center,
            message.width,
            message.height,
            message.rotation,
            message.rect_id if message.HasField("rect_id") else None,
        )

    return read


def _write_landmarks(value: Landmarks, message: Any) -> None:
    for x, y, z in value.points.tolist():
        message.landmark.add(x=x, y=y, z=z)
    for name in ("visibility", "presence"):
        values = getattr(value, name)
        if values is not None:
            for each, given in zip(message.landmark, values.tolist(), strict=True):
                setattr(each, name, given)


def _landmarks(kind: type[Landmarks]) -> Callable[[Any], Landmarks]:
    def read(message: Any) -> Landmarks:
        items = message.landmark
        points = np.array([(each.x, each.y, each.z) for each in items], np.float32)

        def known(name: str) -> Any:
            # Of a list all have it, or none: one calculator has written them.
            if not items or not items[0].HasField(name):
                return None
            return np.array([getattr(each, name) for each in items], np.float32)

        return kind(points.reshape(-1, 3), known("visibility"), known("presence"))

    return read


def _write_render_data(value: RenderData, message: Any) -> None:
    if value.scene_class:
        message.scene_class = value.scene_class
    for each in value.render_annotations:
        annotation = message.render_annotations.add()
        shape = getattr(annotation, _SHAPE_FIELDS[type(each.data)])
        shape.SetInParent()
        _write_fields(each.data, shape)
        _write_color(each.color, annotation.color)
        annotation.thickness = each.thickness
        if each.scene_tag:
            annotation.scene_tag = each.scene_tag


def _write_fields(value: Any, message: Any) -> None:
    """Fields of a dataclass whose names are those of the message's fields."""
    for each in fields(value):
        given = getattr(value, each.name)
        if given is None:
            continue
        if isinstance(given, render_data.Color):
            _write_color(given, getattr(message, each.name))
        elif isinstance(given, Enum):
            setattr(message, each.name, given.value)
        elif isinstance(given, tuple):
            for item in cast("tuple[Any, ...]", given):
                _write_fields(item, getattr(message, each.name).add())
        elif is_dataclass(given):
            inner = getattr(message, each.name)
            inner.SetInParent()
            _write_fields(given, inner)
        else:
            setattr(message, each.name, given)


def _write_color(color: render_data.Color, message: Any) -> None:
    message.r, message.g, message.b = color


def render_data_of(message: Any) -> RenderData:
    """The value of a mediapipe.RenderData; an annotation without a shape is left out."""
    return RenderData(
        tuple(
            RenderAnnotation(
                data=shape_of(getattr(each, name), _SHAPES[name]),
                color=color_of(each.color),
                thickness=each.thickness,
                scene_tag=each.scene_tag,
            )
            for each in message.render_annotations
            if (name := each.WhichOneof("data")) is not None
        ),
        message.scene_class,
    )


def color_of(message: Any) -> render_data.Color:
    """The value of a mediapipe.Color."""
    return render_data.Color(message.r, message.g, message.b)


def shape_of(message: Any, kind: type[Any]) -> Any:
    """The value of a message in RenderAnnotation, as one of `render_data`'s shapes."""
    given: dict[str, Any] = {}
    for each in fields(kind):
        name = each.name
        descriptor = message.DESCRIPTOR.fields_by_name[name]
        value = getattr(message, name)
        if name == "point":
            given[name] = tuple(shape_of(p, render_data.Point) for p in value)
        elif descriptor.message_type is None:
            is_known = message.HasField(name) or each.default is not None
            value = render_data.LineType(value) if _is_line_type(kind, name) else value
            given[name] = value if is_known else None
        elif _NESTED[name] is render_data.Color:
            is_known = message.HasField(name) or each.default is not None
            given[name] = color_of(value) if is_known else None
        else:
            given[name] = shape_of(value, _NESTED[name])
    return kind(**given)


def _is_line_type(kind: type[Any], name: str) -> bool:
    return kind is render_data.Line and name == "line_type"


_NAMES: Final[Mapping[type[Any], str]] = {
    kind: f"mediapipe.{kind.__name__}"
    for kind in (
        Detection,
        NormalizedRect,
        Rect,
        NormalizedLandmarkList,
        LandmarkList,
        RenderData,
    )
}
_WRITE: Final[Mapping[type[Any], Callable[[Any, Any], None]]] = {
    Detection: _write_detection,
    NormalizedRect: _write_rect,
    Rect: _write_rect,
    NormalizedLandmarkList: _write_landmarks,
    LandmarkList: _write_landmarks,
    RenderData: _write_render_data,
}
_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "mediapipe.Detection": detection_of,
    "mediapipe.NormalizedRect": _rect(NormalizedRect),
    "mediapipe.Rect": _rect(Rect),
    "mediapipe.NormalizedLandmarkList": _landmarks(NormalizedLandmarkList),
    "mediapipe.LandmarkList": _landmarks(LandmarkList),
    "mediapipe.RenderData": render_data_of,
}

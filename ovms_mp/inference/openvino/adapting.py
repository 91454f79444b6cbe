"""A model that was read becomes the one that its operator wants clients to see.

In OVMS's order: layouts and what is done to numbers, by OpenVINO's PrePostProcessor, then
shapes, which are those that clients see.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import openvino as ov
from openvino.preprocess import ColorFormat, PrePostProcessor

from ovms_mp.core import layout as layouts
from ovms_mp.core.adaptation import AUTO, WHICHEVER, Adaptation
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.layout import LayoutPair
from ovms_mp.core.shape import UNBOUNDED, Dim, Shape
from ovms_mp.core.tensor import describe_shape
from ovms_mp.inference.engine import ModelConfig, NameMapping, Port, Ports
from ovms_mp.inference.openvino.ports import layout_of, mapped_name, shape_of
from ovms_mp.inference.openvino.text import reason

_COLORS: Final = {
    "RGB": ColorFormat.RGB,
    "BGR": ColorFormat.BGR,
    "GRAY": ColorFormat.GRAY,
    "NV12": ColorFormat.NV12_SINGLE_PLANE,
    "NV12_2": ColorFormat.NV12_TWO_PLANES,
    "I420": ColorFormat.I420_SINGLE_PLANE,
    "I420_3": ColorFormat.I420_THREE_PLANES,
}

_log = logging.getLogger(__name__)

# A length that a request has; of zero nothing can be inferred.
_WHAT_COMES: Final = Dim(1, UNBOUNDED)


def adapt(model: ov.Model, config: ModelConfig, path: Path) -> ov.Model:
    """`model`, which was read at `path`, or another one, as `config` wants it. Raises
    ServingError for what does not fit the model, RuntimeError for what OpenVINO refuses.
    """
    wanted, names = config.adaptation, config.names
    _check(model, wanted, names, path)
    if wanted.layouts or wanted.converts:
        model = _preprocessed(model, wanted, names)
    shapes: dict[Any, ov.PartialShape] = {}
    for port in model.inputs:
        shape = _wanted_shape(port, wanted, names)
        if shape is not None:
            shapes[port] = partial_shape(shape)
    if shapes:
        reshape(model, shapes)
    return model


def open_up(inputs: Ports, wanted: Adaptation) -> Ports:
    """The inputs of a model that is compiled for what comes: those that admit any shape
    of their rank, or any batch. Raises ServingError.
    """
    return Ports([_opened(port, wanted) for port in inputs])


def reshape(model: ov.Model, shapes: Mapping[Any, ov.PartialShape]) -> None:
    """Give inputs other shapes. Raises ServingError if the model cannot have them."""
    try:
        model.reshape(dict(shapes))
    except RuntimeError as error:
        raise ServingError(Status.RESHAPE_ERROR, reason(error)) from error


def partial_shape(shape: Iterable[Dim]) -> ov.PartialShape:
    """OpenVINO's word for it."""
    return ov.PartialShape([ov.Dimension(dim.minimum, dim.maximum) for dim in shape])


def _opened(port: Port, wanted: Adaptation) -> Port:
    shape, axis = port.shape, port.batch_axis
    if wanted.batch_size == AUTO:
        if not shape or axis is None:
            details = f"input name: {port.name}"
            raise ServingError(Status.MODEL_WITH_SCALAR_AUTO_UNSUPPORTED, details)
        opened = (*shape[:axis], _WHAT_COMES, *shape[axis + 1 :])
        return replace(port, shape=opened, told=shape)
    names = (port.name, *sorted(port.names), WHICHEVER)
    said = next((wanted.shapes[name] for name in names if name in wanted.shapes), None)
    if said != AUTO or shape is None:
        return port
    return replace(port, shape=(_WHAT_COMES,) * len(shape), told=shape)


def _check(model: ov.Model, wanted: Adaptation, names: NameMapping, path: Path) -> None:
    """Every name in the config is one of the model's, and no name is needed."""
    has_many = len(model.inputs) > 1
    anonymous = wanted.shapes.get(WHICHEVER)
    if has_many and anonymous is not None and anonymous != AUTO:
        raise ServingError(Status.ANONYMOUS_FIXED_SHAPE_NOT_ALLOWED)
    if has_many and WHICHEVER in wanted.layouts:
        raise ServingError(Status.ANONYMOUS_FIXED_LAYOUT_NOT_ALLOWED)
    if has_many and wanted.converts:
        details = "mean, scale, color_format and precision are for models of one input"
        raise ServingError(Status.MODEL_NOT_LOADED, details)
    inputs = [(port.get_names(), names.inputs) for port in model.inputs]
    outputs = [
        (port.get_names() or {f"out_{index}"}, names.outputs)
        for index, port in enumerate(model.outputs)
    ]
    _check_mapping(inputs, "inputs", path)
    _check_mapping(outputs, "outputs", path)
    _check_names(
        wanted.shapes,
        inputs,
        Status.CONFIG_SHAPE_MAPPED_BUT_USED_REAL_NAME,
        Status.CONFIG_SHAPE_IS_NOT_IN_MODEL,
    )
    _check_names(
        wanted.layouts,
        [*inputs, *outputs],
        Status.CONFIG_LAYOUT_MAPPED_BUT_USED_REAL_NAME,
        Status.CONFIG_LAYOUT_IS_NOT_IN_MODEL,
    )


def _check_mapping(
    ports: Sequence[tuple[set[str], Mapping[str, str]]], kind: str, path: Path
) -> None:
    """Public names are of one port each, and of one that is there."""
    taken: dict[str, int] = {}
    for index, (names, mapping) in enumerate(ports):
        public = mapped_name(names, mapping)
        for name in names if public is None else (public,):
            # Two outputs of one tensor share its names; the mapping takes none away.
            if taken.setdefault(name, index) != index and public is not None:
                details = f"mapping_config.json: two {kind} are called {name}"
                raise ServingError(Status.MODEL_NOT_LOADED, details)
    known = {name for names, _ in ports for name in names}
    for name in sorted(set(ports[0][1] if ports else ()) - known):
        _log.warning(
            "mapping_config.json of %s: none of its %s is %s", path, kind, name
        )


def _check_names(
    used: Iterable[str],
    ports: Iterable[tuple[set[str], Mapping[str, str]]],
    mapped: Status,
    absent: Status,
) -> None:
    known: set[str] = set()
    real: set[str] = set()
    for names, mapping in ports:
        public = mapped_name(names, mapping)
        known |= names if public is None else {public}
        real |= names if public is not None else set()
    for name in used:
        if name == WHICHEVER or name in known:
            continue
        raise ServingError(mapped if name in real else absent, name)


def _preprocessed(model: ov.Model, wanted: Adaptation, names: NameMapping) -> ov.Model:
    steps = PrePostProcessor(model)
    for index, port in enumerate(model.inputs):
        pair = _said(wanted.layouts, port.get_names(), names.inputs)
        # What a model says of itself is enough, where there is nothing to transpose.
        known = layout_of(port, shape_of(port.get_partial_shape()))
        each = steps.input(index)
        if pair is not None:
            _check_layout(pair, port)
            each.tensor().set_layout(ov.Layout(pair.tensor))
        each.model().set_layout(ov.Layout(pair.model if pair else known))
    for index, port in enumerate(model.outputs):
        own = port.get_names() or {f"out_{index}"}
        pair = _said(wanted.layouts, own, names.outputs, or_whichever=False)
        if pair is not None:
            _check_layout(pair, port)
            steps.output(index).tensor().set_layout(ov.Layout(pair.tensor))
            steps.output(index).model().set_layout(ov.Layout(pair.model))
    if wanted.converts:
        _convert(steps.input(), wanted)
    return steps.build()


def _convert(each: Any, wanted: Adaptation) -> None:
    color, precision = wanted.color_format, wanted.precision
    if color is not None:
        each.tensor().set_color_format(_COLORS[color.tensor])
        each.preprocess().convert_color(_COLORS[color.model])
    if precision is not None:
        each.tensor().set_element_type(getattr(ov.Type, precision.tensor))
        each.preprocess().convert_element_type(getattr(ov.Type, precision.model))
    for numbers, step in (
        (wanted.mean, each.preprocess().mean),
        (wanted.scale, each.preprocess().scale),
    ):
        if numbers:
            step(numbers[0] if len(numbers) == 1 else list(numbers))


def _check_layout(pair: LayoutPair, port: Any) -> None:
    shape = shape_of(port.get_partial_shape())
    for layout in pair:
        if shape is not None and not layouts.fits(layout, len(shape)):
            details = f"layout: {layout}; shape: {describe_shape(shape)}"
            raise ServingError(Status.LAYOUT_INCOMPATIBLE_WITH_SHAPE, details)


def _wanted_shape(port: Any, wanted: Adaptation, names: NameMapping) -> Shape | None:
    """None where the model's own is meant."""
    said = _said(wanted.shapes, port.get_names(), names.inputs)
    if said is not None:
        return None if isinstance(said, str) else said
    batch = wanted.batch_size
    shape = shape_of(port.get_partial_shape())
    if shape is None or batch is None or isinstance(batch, str):
        return None
    axis = layouts.batch_axis(layout_of(port, shape))
    if axis is None or axis >= len(shape):
        return None
    return (*shape[:axis], batch, *shape[axis + 1 :])


def _said(
    said: Mapping[str, Any],
    names: set[str],
    mapping: Mapping[str, str],
    *,
    or_whichever: bool = True,
) -> Any:
    public = mapped_name(names, mapping)
    known = sorted(names) if public is None else [public]
    found = next((said[name] for name in known if name in said), None)
    return said.get(WHICHEVER) if found is None and or_whichever else found

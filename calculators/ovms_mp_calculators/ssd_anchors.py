"""Boxes that a detector's outputs are relative to: SsdAnchorsCalculator.

    node {
      calculator: "SsdAnchorsCalculator"
      output_side_packet: "anchors"    # FP32 [n, 4]: x_center, y_center, h, w
      node_options: {
        [type.googleapis.com/mediapipe.SsdAnchorsCalculatorOptions] {
          num_layers: 4
          min_scale: 0.1484375
          max_scale: 0.75
          input_size_width: 128
          input_size_height: 128
          strides: [8, 16, 16, 16]
          aspect_ratios: 1.0
          fixed_anchor_size: true
        }
      }
    }

As MediaPipe's: for each layer, cell by cell and row by row, the anchors of a cell. Layers
of the same stride that follow each other share their cells. Computed when the graph is
loaded.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Options, SideOutput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, NodeInfo

_OPTIONS: Final = graph.SsdAnchorsCalculatorOptions
_MAX_ANCHORS: Final = 1 << 22
_GENERATING: Final = (
    "input_size_width",
    "input_size_height",
    "min_scale",
    "max_scale",
    "num_layers",
)

Anchors = NDArray[np.float32]


class SsdAnchorsCalculator(Calculator):
    """Makes anchors, once for a graph."""

    anchors: SideOutput[Anchors] = SideOutput(np.ndarray)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Refuse options that make no anchors."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        if options.fixed_anchors:
            _check_fixed(options)
        else:
            _check_layers(options)

    @classmethod
    def load(cls, node: NodeInfo) -> Anchors:
        """The anchors of all runs."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        anchors = generated(options)
        anchors.flags.writeable = False
        return anchors

    def open(self, ctx: Context) -> None:
        """They are there."""
        ctx.set_side(self.anchors, self.shared)


def generated(options: graph.SsdAnchorsCalculatorOptions) -> Anchors:
    """The anchors that checked options ask for, float32 [n, 4]."""
    if options.fixed_anchors:
        fixed = [(e.x_center, e.y_center, e.h, e.w) for e in options.fixed_anchors]
        return np.array(fixed, np.float32)
    if options.multiscale_anchor_generation:
        parts = [_of_level(options, each) for each in range(_layers(options))]
    else:
        parts = [
            _of_stride(options, [place for place, _ in places])
            for _, places in groupby(enumerate(options.strides), lambda each: each[1])
        ]
    return np.concatenate(parts)


def _layers(options: graph.SsdAnchorsCalculatorOptions) -> int:
    if options.multiscale_anchor_generation:
        return options.max_level - options.min_level + 1
    return options.num_layers


def _cells(options: graph.SsdAnchorsCalculatorOptions, layer: int) -> tuple[int, int]:
    """Rows and columns."""
    if options.feature_map_height:
        return options.feature_map_height[layer], options.feature_map_width[layer]
    stride = options.strides[layer]
    return (
        math.ceil(options.input_size_height / stride),
        math.ceil(options.input_size_width / stride),
    )


def _scale(options: graph.SsdAnchorsCalculatorOptions, place: int) -> np.float32:
    count = len(options.strides)
    low, high = options.min_scale, options.max_scale
    if count == 1:
        return np.float32((low + high) * 0.5)
    return np.float32(low + (high - low) * place / (count - 1))


def _of_stride(
    options: graph.SsdAnchorsCalculatorOptions, layers: list[int]
) -> Anchors:
    pairs: list[tuple[float, Any]] = []  # aspect ratio and scale
    for layer in layers:
        scale = _scale(options, layer)
        if layer == 0 and options.reduce_boxes_in_lowest_layer:
            pairs += [(1.0, np.float32(0.1)), (2.0, scale), (0.5, scale)]
            continue
        pairs += [(ratio, scale) for ratio in options.aspect_ratios]
        if options.interpolated_scale_aspect_ratio > 0:
            is_last = layer == len(options.strides) - 1
            following = np.float32(1) if is_last else _scale(options, layer + 1)
            between = np.sqrt(scale * following)
            pairs.append((options.interpolated_scale_aspect_ratio, between))
    ratios = np.sqrt(np.array([ratio for ratio, _ in pairs], np.float32))
    scales = np.array([scale for _, scale in pairs], np.float32)
    sides = np.stack([scales / ratios, scales * ratios], axis=1)
    sizes: Anchors = sides.astype(np.float32)
    if options.fixed_anchor_size:
        sizes[:] = 1
    rows, columns = _cells(options, layers[0])
    y = (np.arange(rows, dtype=np.float32) + np.float32(options.anchor_offset_y)) / (
        np.float32(rows)
    )
    x = (np.arange(columns, dtype=np.float32) + np.float32(options.anchor_offset_x)) / (
        np.float32(columns)
    )
    return _grid(y, x, sizes)


def _of_level(options: graph.SsdAnchorsCalculatorOptions, layer: int) -> Anchors:
    """A level of a feature pyramid (RetinaNet)."""
    stride = 2.0 ** (options.min_level + layer)
    base = stride * options.anchor_scale
    sizes: Anchors = np.array(
        [
            (scale * base / math.sqrt(ratio), scale * math.sqrt(ratio) * base)
            for ratio in options.aspect_ratios
            for scale in _octave(options.scales_per_octave)
        ],
        np.float32,
    )
    rows, columns = _cells(options, layer)
    y, x = (
        np.arange(count, dtype=np.float32) * np.float32(stride)
        + np.float32(stride / 2 if size == 1 or size % int(stride) == 0 else 0)
        for count, size in (
            (rows, options.input_size_height),
            (columns, options.input_size_width),
        )
    )
    if options.normalize_coordinates:
        high = np.float32(options.input_size_height)
        wide = np.float32(options.input_size_width)
        y, x = y / high, x / wide
        sizes[:] = sizes / np.array([high, wide], np.float32)
    return _grid(y, x, sizes)


def _octave(steps: int) -> Iterable[float]:
    return [2.0 ** (step / steps) for step in range(steps)]


def _grid(y: Anchors, x: Anchors, sizes: Anchors) -> Anchors:
    """All sizes (height, width) in all cells."""
    grid = np.empty((len(y), len(x), len(sizes), 4), np.float32)
    grid[..., 0] = x[None, :, None]
    grid[..., 1] = y[:, None, None]
    grid[..., 2:] = sizes
    return grid.reshape(-1, 4)


def _check_fixed(options: graph.SsdAnchorsCalculatorOptions) -> None:
    given = [name for name in _GENERATING if options.HasField(name)]
    if given or options.multiscale_anchor_generation:
        what = given[0] if given else "multiscale_anchor_generation"
        raise ContractError(f"`fixed_anchors` and `{what}` exclude each other")


def _check_layers(options: graph.SsdAnchorsCalculatorOptions) -> None:
    count = _layers(options)
    heights, widths = options.feature_map_height, options.feature_map_width
    if count < 1:
        raise ContractError(f"there must be at least one layer, not {count}")
    if len(heights) != len(widths) or len(heights) not in {0, count}:
        raise ContractError(
            f"{count} layers have {len(heights)} feature_map_height "
            f"and {len(widths)} feature_map_width"
        )
    # Only levels of a pyramid have their strides from elsewhere.
    needs_strides = not options.multiscale_anchor_generation or not heights
    if needs_strides and len(options.strides) != count:
        raise ContractError(f"{count} layers have {len(options.strides)} strides")
    if any(each < 1 for each in (*options.strides, *heights, *widths)):
        raise ContractError("strides and feature maps are at least 1")
    if not heights and min(options.input_size_width, options.input_size_height) < 1:
        raise ContractError("input_size_width and input_size_height are at least 1")
    if any(each <= 0 for each in options.aspect_ratios):
        raise ContractError("aspect_ratios are more than 0")
    cells = sum(math.prod(_cells(options, layer)) for layer in range(count))
    if cells > _MAX_ANCHORS:
        raise ContractError(f"{cells} cells are more than {_MAX_ANCHORS}")

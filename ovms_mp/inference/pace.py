"""What an inference takes depends on the shapes it is asked with: each has a pace of its
own.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np

from ovms_mp.core.pace import SHORT, Pace
from ovms_mp.inference.engine import Ports, TensorData

# A machine that is busy interrupts many an inference, and makes none faster: one that was
# fast says more than one that was not, and ten slow ones in a row change everything.
_WEIGHT_OF_FASTER: Final = 1 / 2
_WEIGHT_OF_SLOWER: Final = 1 / 16

# Clients choose shapes: what is remembered of them has a limit. OpenVINO, too, keeps what
# it made for some shapes only.
_MAX_SHAPES: Final = 64

_Shapes: TypeAlias = "tuple[tuple[int, ...], ...]"


def _new() -> Pace:
    return Pace(faster=_WEIGHT_OF_FASTER, slower=_WEIGHT_OF_SLOWER, most=2 * SHORT)


class Paces:
    """The paces of one model. Thread-safe."""

    def __init__(self, inputs: Ports) -> None:
        self.usual: Final = _new()
        """Of a model whose shapes are all static; else nothing is ever known of it."""
        self.is_static: Final = all(port.is_static for port in inputs)
        # What texts take is not in their number.
        self._has_numbers = all(port.datatype is not None for port in inputs)
        self._by_shapes: dict[_Shapes, Pace] = {}
        self._lock = threading.Lock()

    def of(self, tensors: Sequence[TensorData]) -> Pace | None:
        """The pace for inputs of these shapes; None if shapes do not decide it."""
        if self.is_static:
            return self.usual
        if not self._has_numbers:
            return None
        # Bytes are given where there is only one shape.
        shapes = tuple(
            [each.shape if isinstance(each, np.ndarray) else () for each in tensors]
        )
        return self._by_shapes.get(shapes) or self._add(shapes)

    def _add(self, shapes: _Shapes) -> Pace:
        with self._lock:
            paces = self._by_shapes
            if shapes not in paces and len(paces) >= _MAX_SHAPES:
                del paces[next(iter(paces))]
            return paces.setdefault(shapes, _new())

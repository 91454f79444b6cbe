"""Operators of TFLite that OpenVINO's reader does not know are put together from those
that OpenVINO has, by functions that packages bring along.

A package names them in the entry-point group `ovms_mp.conversions`: the name is that of
the custom operator, the object a Conversion. It is imported when a model asks for it.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final, TypeAlias

import openvino as ov
from openvino.frontend import ConversionExtension, NodeContext

from ovms_mp.inference.openvino.tflite import custom_operators

Conversion: TypeAlias = "Callable[[NodeContext, bytes], Sequence[Any]]"
"""Takes an operator of a file and its `custom_options`; gives its outputs (ov.Output), in order. What
it raises is why the model does not load.
"""

ENTRY_POINTS: Final = "ovms_mp.conversions"
_SUFFIX: Final = ".tflite"
_IR: Final = ".xml"

_log = logging.getLogger(__name__)


class Conversions:
    """Those that are installed, for the models that `core` reads. Thread-safe: a model
    is read in one thread, in which its operators are converted.
    """

    def __init__(self, core: ov.Core) -> None:
        self._core = core
        self._reading = threading.local()
        self._lock = threading.Lock()
        self._extensions: list[Any] | None = None
        """Kept as long as the core may call them."""

    @contextmanager
    def reading(self, path: Path) -> Generator[None]:
        """Within, this thread has OpenVINO read `path`."""
        if path.suffix != _IR:
            self._extend()
        options: dict[str, deque[bytes]] = defaultdict(deque)
        if path.suffix == _SUFFIX:
            with suppress(OSError, ValueError):  # OpenVINO says what is wrong with it
                for name, each in custom_operators(path.read_bytes()):
                    options[name].append(each)
        self._reading.options = options
        try:
            yield
        finally:
            del self._reading.options

    def _extend(self) -> None:
        """Tell the core of all, once. To look for them is a fortieth of a start, which
        who has an IR does not need.
        """
        with self._lock:
            if self._extensions is not None:
                return
            self._extensions = []
            untyped: Any = self._core  # no types in its stub
            for name, entry in _installed().items():
                convert: Any = partial(self._convert, entry)
                extension: Any = ConversionExtension(name, convert)
                self._extensions.append(extension)
                untyped.add_extension(extension)

    def _convert(self, entry: EntryPoint, node: NodeContext) -> Sequence[ov.Output]:
        # OpenVINO converts the operators in the order of the file.
        left = self._reading.options[entry.name]
        convert: Conversion = entry.load()
        outputs = list(convert(node, left.popleft() if left else b""))
        if not all(isinstance(each, ov.Output) for each in outputs) or not outputs:
            # OpenVINO would not survive to say so.
            raise TypeError(
                f"{entry.value} gave {outputs} for the outputs of an operator"
            )
        return outputs


def _installed() -> Mapping[str, EntryPoint]:
    known: dict[str, EntryPoint] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        other = known.setdefault(entry.name, entry)
        if other.value != entry.value:
            _log.error(
                "%s is converted by %s, not by %s", entry.name, other.value, entry.value
            )
    return known

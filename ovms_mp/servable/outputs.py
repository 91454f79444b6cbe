"""Arrays that a model gave become the outputs of a response: those that the request asks
for, or all of them, in the order of names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.core.messages import OutputTensor
from ovms_mp.core.tensor import BYTES, Datatype
from ovms_mp.inference.engine import TEXT
from ovms_mp.servable.contents import prefixed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ovms_mp.core.messages import Buffer
    from ovms_mp.core.tensor import Array
    from ovms_mp.inference.engine import Port, Ports

# To look at memory costs as much as to copy this much of it.
_FEW: Final = 16_384
# Selections that clients made; then they are judged anew.
_MAX_SELECTIONS: Final = 64
# An output of such a name has texts, each padded with zeros to a row (OVMS).
_PADDED_TEXTS: Final = "_string"


class Output(NamedTuple):
    """One that is to be written. `write` is None for numbers, which are what they are."""

    at: int
    name: str
    datatype: str
    write: Callable[[str, Array], OutputTensor] | None


class OutputWriter:
    """The outputs of one model. Thread-safe."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        every = tuple(_output(index, ports[index]) for index in ports.by_name)
        self._selections: dict[tuple[str, ...], tuple[Output, ...]] = {(): every}

    def select(self, names: tuple[str, ...]) -> tuple[Output, ...]:
        """What `write` is to be given for a request that asks for these; for all if it
        names none. Raises ServingError for a name that is no output's.
        """
        known = self._selections.get(names)
        if known is not None:
            return known
        found: dict[int, str] = {}
        for name in names:
            index = self._ports.find(name)
            if index is None:
                details = f"Requested output: {public_text(name)}"
                raise ServingError(Status.INVALID_MISSING_OUTPUT, details)
            found.setdefault(index, name)
        # Under the name that the client has for it.
        selected = tuple(
            _output(index, self._ports[index])._replace(name=found[index])
            for index in self._ports.by_name
            if index in found
        )
        if len(self._selections) < _MAX_SELECTIONS:
            self._selections[names] = selected
        return selected


def written(
    selected: Sequence[Output], arrays: Sequence[Array]
) -> tuple[OutputTensor, ...]:
    """`arrays` are all of the model's outputs, in its order."""
    return tuple(
        [
            OutputTensor(name, datatype, arrays[at].shape, _buffer(arrays[at]))
            if write is None
            else write(name, arrays[at])
            for at, name, datatype, write in selected
        ]
    )


def _output(index: int, port: Port) -> Output:
    write = None
    if port.element_type == TEXT:
        write = _texts
    elif _has_padded_texts(port):
        write = _padded_texts
    return Output(index, port.name, port.info.datatype, write)


def _has_padded_texts(port: Port) -> bool:
    is_flat = port.shape is not None and len(port.shape) == 2
    is_octets = port.datatype is Datatype.UINT8
    return is_flat and is_octets and port.name.endswith(_PADDED_TEXTS)


def _texts(name: str, array: Array) -> OutputTensor:
    return OutputTensor(name, BYTES, array.shape, prefixed(array.ravel().tolist()))


def _padded_texts(name: str, array: Array) -> OutputTensor:
    """Each row up to its first zero."""
    texts = [row.tobytes().partition(b"\0")[0] for row in array]
    return OutputTensor(name, BYTES, (len(texts),), prefixed(texts))


def _buffer(array: Array) -> Buffer:
    """The array's bytes: a copy if there are few, else its memory itself."""
    if array.nbytes <= _FEW:
        return array.tobytes()
    return array.reshape(-1).view(np.uint8).data

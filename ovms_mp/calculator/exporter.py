"""A class whose instances lend out another object's memory through the buffer protocol,
on every Python that we run on.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from ovms_mp.core.tensor import Array


class SupportsBuffer(Protocol):
    """Anything with the buffer protocol, as type checkers see it on every Python."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """PEP 688."""
        ...


if TYPE_CHECKING or sys.version_info >= (3, 12):

    class Exporter:
        """`memoryview(exporter)` is `memoryview(exported)`: same format, shape, strides
        and address, and as read-only. Whoever holds a view keeps `exported` alive.

        Subclasses pass the array to `Exporter.__new__`.
        """

        __slots__ = ("__weakref__", "_exported")

        _exported: Array

        def __new__(cls, exported: Array) -> Self:
            """Lend out the memory of `exported`."""
            self = super().__new__(cls)
            self._exported = exported
            return self

        def __buffer__(self, flags: int, /) -> memoryview:  # PEP 688
            return self._exported.data

else:
    # Before PEP 688 only a C type can export a buffer, and a callback through ctypes
    # cannot raise: a refused export would end as SystemError or worse. CPython has one
    # C type that does exactly what is needed, pickle.PickleBuffer: it forwards requests
    # to the object it was made of, without a line of Python in between. It allocates,
    # traverses and frees itself in a way that suits subclasses, and only lacks the flag
    # that allows them; so it wears that flag while Exporter is created.
    import ctypes
    from contextlib import contextmanager
    from pickle import PickleBuffer

    _BASETYPE = 1 << 10  # Py_TPFLAGS_BASETYPE
    # In PyTypeObject, after ob_size and 18 more members as wide as a pointer.
    _TP_FLAGS = object.__basicsize__ + 19 * ctypes.sizeof(ctypes.c_void_p)

    @contextmanager
    def _subclassable(final):
        flags = ctypes.c_ulong.from_address(id(final) + _TP_FLAGS)
        if flags.value != final.__flags__:
            raise ImportError("this Python lays out its types in an unknown way")
        flags.value |= _BASETYPE
        try:
            yield final
        finally:
            flags.value &= ~_BASETYPE

    def _absent(self):
        raise AttributeError

    # The exported object must be an ndarray (not, say, a memoryview): CPython 3.11
    # crashes when it collects a cycle that contains a memoryview with exports.
    with _subclassable(PickleBuffer) as _base:

        class Exporter(_base):
            """See above."""

            __slots__ = ()

            # What PickleBuffer offers beyond the protocol. `release` would take the
            # memory away from everybody that shares the object.
            raw = property(_absent)
            release = property(_absent)

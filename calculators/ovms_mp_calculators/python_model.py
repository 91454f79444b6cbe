"""What a node needs of a handler, wherever the handler runs: sessions that execute, and
generations that come step by step.

All of it may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, cast

from ovms_mp.calculator.pyovms import Tensor
from ovms_mp.core.pending import Pending

Tensors: TypeAlias = list[Tensor]


class Generation(Protocol):
    """What an `execute` that yields gives: a list of Tensors at a time."""

    def step(self) -> Tensors | Pending[Tensors | None] | None:
        """The next list, None after the last. One call at a time; it fails with what
        the handler raises, and is over then.
        """
        ...

    def close(self) -> None:
        """Want no more: GeneratorExit is raised where the handler is. Repeatable."""
        ...


Answer: TypeAlias = Tensors | Generation


class ModelSession(Protocol):
    """A handler as one stream or one unary request sees it."""

    def execute(self, inputs: Tensors) -> Answer | Pending[Answer]:
        """Call the handler's `execute`. Fails with what that raises, or with TypeError
        when it gives something else.
        """
        ...

    def close(self) -> None:
        """The stream is over; what the handler raises is logged."""
        ...


Declared: TypeAlias = Mapping[str, tuple[str, tuple[int, ...]]]
"""What a handler says of its tensors: by the names of streams, (datatype, shape)."""


class PythonModel(Protocol):
    """A handler that is loaded and initialized."""

    @property
    def tensors(self) -> Declared:
        """What its `tensors` say."""
        ...

    def open(self, *, is_serial: bool) -> ModelSession:
        """A session; `is_serial` promises that its calls do not overlap."""
        ...

    def finalize(self) -> None:
        """Let go of it, after the last session; what it raises is logged."""
        ...


def tensors_of(result: object, verb: str) -> Tensors:
    """What `execute` returned or yielded, if it is a list of Tensors. Raises TypeError."""
    if not isinstance(result, list):
        a_list = "a list" if verb == "return" else "lists"
        raise TypeError(
            f"execute must {verb} {a_list} of pyovms.Tensor, "
            f"it {verb}ed {type(result).__name__}"
        )
    for each in cast("list[object]", result):
        if not isinstance(each, Tensor):
            raise TypeError(
                f"the list that execute {verb}ed contains {type(each).__name__}, "
                "not pyovms.Tensor"
            )
    return cast("Tensors", result)


def declared(value: object) -> Declared:
    """A handler's `tensors`, if they are a dict of names to (datatype, shape). Raises
    TypeError.
    """
    if not isinstance(value, dict):
        raise TypeError("tensors should be a dict of stream names")
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, each in cast("dict[object, object]", value).items():
        pair = _items(each)
        datatype, shape = pair if len(pair) == 2 else (None, None)
        lengths = _items(shape)
        is_shape = isinstance(shape, list | tuple) and all(
            type(length) is int and length >= -1 for length in lengths
        )
        if not (isinstance(name, str) and isinstance(datatype, str) and is_shape):
            raise TypeError(
                f"tensors[{name!r}] should be (datatype, shape), as in "
                f'{{"boxes": ("FP32", [-1, 4])}}, not {each!r}'
            )
        found[name] = datatype, tuple(cast("list[int]", lengths))
    return found


def _items(value: object) -> tuple[object, ...]:
    if isinstance(value, list | tuple):
        return tuple(cast("Sequence[object]", value))
    return ()

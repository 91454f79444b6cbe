"""What clients ask the server, of every kind of node: requests of which no two are alike,
and what has to come of each, so that an answer that is somebody else's is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tests.wire.calls import Answer, Request, arrays, ask, floats, text

Inputs = Mapping[str, Any]
Expected = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One servable. `inputs` and `expected` are those of a number, which is whole and
    below 2^24; `has_state` if answers of a stream add up.
    """

    name: str
    inputs: Callable[[int], Inputs]
    expected: Callable[[int], Expected]
    has_state: bool = False

    def ask(self, value: int, **more: Any) -> Request:
        """The request of a number."""
        return ask(self.name, self.inputs(value), **more)

    def is_answered(self, answer: Answer, value: int) -> bool:
        """Whether the answer is that to the number (of a stream with a state: to the sum
        of all its numbers).
        """
        told = arrays(answer)
        expected = self.expected(value)
        return bool(told) and all(
            name in expected and np.array_equal(found, expected[name])
            for name, found in told.items()
        )


def _row(value: int, width: int) -> np.ndarray:
    return floats(*[value] * width)


def _word(value: int) -> bytes:
    return f"word {value}".encode()


def _spoken(value: int) -> list[int]:
    return list(_word(value).upper())


STATELESS: Final = (
    Kind("echo", lambda n: {"in": _row(n, 3)}, lambda n: {"out": _row(n, 3)}),
    Kind("add_one", lambda n: {"x": _row(n, 10)}, lambda n: {"y": _row(n + 1, 10)}),
    Kind("add", lambda n: {"in": _row(n, 10)}, lambda n: {"out": _row(n + 1, 10)}),
    Kind(
        "fan",
        lambda n: {"in": _row(n, 10)},
        lambda n: {"same": _row(n, 10), "more": _row(n + 1, 10)},
    ),
    Kind(
        "join",
        lambda n: {"a": np.array([[n, n + 1]]), "b": _row(n, 3)},
        lambda n: {"sum": [3 * n], "double": [[2 * n, 2 * n + 2]]},
    ),
    Kind(
        "words",
        lambda n: {"word": text(_word(n).decode())},
        lambda n: {"said": _spoken(n)},
    ),
    Kind(
        "aside",
        lambda n: {"in": text(_word(n).decode())},
        lambda n: {"out": _spoken(n)},
    ),
)
"""Unary, and streamed."""

STATES: Final = (
    Kind("total", lambda n: {"x": _row(n, 4)}, lambda n: {"y": _row(n, 4)}, True),
    Kind("totals", lambda n: {"in": _row(n, 4)}, lambda n: {"out": _row(n, 4)}, True),
)
"""A model that remembers, and a graph with one: for streams."""

STREAMED: Final = (*STATELESS, *STATES)

OUTPUTS: Final[Mapping[str, int]] = {"fan": 2, "join": 2}
"""Answers to one request of a stream, where they are more than one."""

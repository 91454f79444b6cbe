"""Who asks again for what he asked before, with other contents, is known by the bytes that
come before them, and answered with the bytes that came before the answer's.

A message that begins with the same bytes, and is as long, means the same but for the
contents at its end; so it cannot be told from an answer which way it went.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ovms_mp.frontend.grpc.codec import encode_contents, heads_of
from ovms_mp.frontend.grpc.heads import FEW, Memory, split

if TYPE_CHECKING:
    from ovms_mp.core.messages import InferRequest, InferResponse
    from ovms_mp.frontend.grpc.catalog import Catalog
    from ovms_mp.servable.repeats import Repeat, Term

# Requests of one size that take turns.
_MAX_ALIKE: Final = 4


class _Known(NamedTuple):
    before: bytes
    term: Term
    repeat: Repeat
    heads: tuple[bytes, ...]
    """What comes before the contents of each output."""


class Again:
    """What was asked, and of whom. Thread-safe."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: Memory[int, tuple[_Known, ...]] = Memory()

    def answer(self, message: bytes) -> bytes | None:
        """A ModelInferResponse, if the ModelInferRequest is known and can be inferred
        within the call. Raises ServingError.
        """
        for before, term, repeat, heads in self._known.get(len(message), ()):
            if message.startswith(before) and not term.is_over:
                outputs = repeat.infer(message[len(before) :])
                return None if outputs is None else encode_contents(heads, outputs)
        return None

    def learn(
        self, message: bytes, request: InferRequest, response: InferResponse
    ) -> None:
        """That `message`, which is `request`, was answered by `response`."""
        if request.raw_count != 1 or request.id or request.parameters:
            return
        parts = split(message)
        found = self._catalog.repeat(request)
        if parts is None or found is None or len(parts.raw[0]) > FEW:
            return
        before = message[: len(message) - len(parts.raw[0])]
        known = _Known(before, *found, heads_of(response))
        others = self._known.get(len(message), ())
        others = [each for each in others if each.before != before][: _MAX_ALIKE - 1]
        self._known.keep(len(message), (known, *others))

"""Messages of KServe's, right ones in which something is wrong, and streams of them:
whoever sends them hears whose fault it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import grpc
from hypothesis import strategies as st
from ovms_mp_protos import kserve

from tests.fuzz.fuzzing import a_line
from tests.gates.kinds import STATELESS, STATES
from tests.unit.frontend.grpc.strategies import mutilate, requests
from tests.wire.calls import status_of

CODES: Final = {
    "OK",
    *("INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"),
    *("RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ALREADY_EXISTS"),
}
CONTROL: Final = (kserve.MODEL_READY, kserve.MODEL_METADATA, kserve.MODEL_CONFIG)
SECONDS: Final = 30.0

RIGHT: Final = [
    kind.ask(3, id="7", at=1, parameters={"one": 1, "two": "text"}).SerializeToString()
    for kind in (*STATELESS, *STATES)
]
NAMES: Final = [kind.name for kind in (*STATELESS, *STATES)]


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Bytes of a request, mutilated; or a request of nonsense to a servable there is."""
    if draw(st.booleans()):
        return draw(mutilate(draw(st.sampled_from(RIGHT))))
    request = draw(requests())
    request.model_name = draw(st.sampled_from(NAMES))
    for tensor in request.inputs:
        tensor.name = draw(st.sampled_from(["in", "x", "a", "b", "word", tensor.name]))
    return request.SerializeToString()


CONVERSATIONS: Final = st.lists(
    messages() | st.sampled_from(RIGHT), min_size=1, max_size=4
)
QUESTIONS: Final = st.tuples(st.sampled_from(CONTROL), st.binary(max_size=30))


class Judge:
    """What comes of them on a connection."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._infer: Any = channel.unary_unary(kserve.MODEL_INFER)

    def call(self, message: bytes) -> str:
        """A unary call."""
        return self._judged(lambda: self._infer(message, timeout=SECONDS), message)

    def stream(self, conversation: Sequence[bytes]) -> str:
        """A stream of them, from the first to its end."""
        method: Any = self._channel.stream_stream(
            kserve.MODEL_STREAM_INFER, None, kserve.ModelStreamInferResponse.FromString
        )

        def converse() -> None:
            for each in method(iter(conversation), timeout=SECONDS):
                assert a_line(each.error_message), (each, conversation)

        return self._judged(converse, conversation)

    def question(self, question: tuple[str, bytes]) -> str:
        """A method that infers nothing."""
        path, message = question
        method: Any = self._channel.unary_unary(path)
        return self._judged(lambda: method(message, timeout=SECONDS), question)

    @staticmethod
    def _judged(call: Any, example: object) -> str:
        code, text = status_of(call)
        assert code in CODES, (code, text, example)
        assert a_line(text), (code, text, example)
        return code

"""R11: what is too large, too deep or too many is refused at once and in little memory."""

from __future__ import annotations

import gzip
import json
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
import numpy as np
from ovms_mp_protos import kserve

from tests.gates.gate import Figure, Run, Tier, none, percentile, seconds
from tests.gates.subject import Subject, build
from tests.wire.calls import Request, ask, connect, floats, refusal, shaped, status_of
from tests.wire.rest import inputs, tensor

MIB: Final = 1 << 20
LIMIT: Final = 8 * MIB
"""Of a message, and of a body."""
ANSWER: Final = LIMIT // 2
"""Of an answer, with what is beside the contents."""

REFUSED_WITHIN: Final = 0.05
TWICE: Final = 2 * LIMIT / MIB
AT_ONCE: Final = 64

TEN: Final = floats(*range(10))
REFUSALS: Final = {
    "INVALID_ARGUMENT",
    "RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED",
    "NOT_FOUND",
}
CODES: Final = {400, 413, 429, 501, 404}


def _png(width: int, height: int) -> bytes:
    """A picture of one colour, of which the file is small."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", head),
            (b"IDAT", zlib.compress(bytes(4 * MIB))),
            (b"IEND", b""),
        )
    )


def _picture(data: bytes) -> Request:
    request = Request(model_name="image")
    request.inputs.add(name="in", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(struct.pack("<I", len(data)) + data)
    return request


def _shaped(*shape: int) -> Request:
    return shaped("echo", "in", "FP32", *shape, raw=bytes(40))


def _inputs(count: int) -> Request:
    request = Request(model_name="echo")
    for number in range(count):
        request.inputs.add(name=str(number), datatype="FP32", shape=[1])
    return request


MESSAGES: Final[Mapping[str, Callable[[], Request | bytes]]] = {
    "a byte more than the limit": lambda: ask(
        "echo", {"in": np.zeros(LIMIT, np.uint8)}
    ),
    "millions of empty inputs": lambda: b"\x2a\x00" * (LIMIT // 2 - 8),
    "millions of empty contents": lambda: b"\x3a\x00" * (LIMIT // 2 - 8),
    "millions of empty parameters": lambda: b"\x22\x00" * (LIMIT // 2 - 8),
    "4097 inputs": lambda: _inputs(4097),
    "a shape of 2^40 elements": lambda: _shaped(1 << 20, 1 << 20),
    "dimensions that overflow": lambda: _shaped(1 << 62, 1 << 62, 4),
    "a negative dimension": lambda: _shaped(-1, 10),
    "a dimension of zero": lambda: _shaped(0, 10),
    "a name of a megabyte": lambda: ask("x" * MIB, {"in": TEN}),
    "a tensor's name of a megabyte": lambda: ask("echo", {"x" * MIB: TEN}),
    "a datatype of a megabyte": lambda: shaped(
        "echo", "in", "X" * MIB, 10, raw=bytes(40)
    ),
    "an answer of a byte more than the limit": lambda: ask(
        "echo", {"in": np.zeros(ANSWER, np.uint8)}
    ),
    "a PNG of 900 megapixels": lambda: _picture(_png(30_000, 30_000)),
}
"""Over gRPC."""


def _document(**keys: Any) -> bytes:
    return json.dumps(inputs({**tensor("in", TEN), **keys})).encode()


BODIES: Final[Mapping[str, Callable[[], bytes]]] = {
    "a byte more than the limit": lambda: bytes(LIMIT + 1),
    "JSON that is a thousand arrays deep": lambda: (
        b'{"inputs":' + b"[" * 1000 + b"]" * 1000 + b"}"
    ),
    "JSON that is a million arrays deep": lambda: b'{"inputs":' + b"[" * MIB,
    "a number of 5000 digits": lambda: _document().replace(b"9.0", b"9" * 5000),
    "a number that is none": lambda: _document().replace(b"9.0", b"NaN"),
    "a shape of 2^40 elements": lambda: _document(shape=[1 << 20, 1 << 20]),
    "a negative dimension": lambda: _document(shape=[-1, 10]),
    "4097 inputs": lambda: json.dumps(inputs(*[tensor("in", TEN)] * 4097)).encode(),
    "a member that is named twice": lambda: b'{"inputs":[],' + _document()[1:],
    "an input's name of a megabyte": lambda: _document(name="x" * MIB),
}
"""Over REST."""


def refused(run: Run) -> list[Figure]:
    """Bombs of every kind, over gRPC and REST, are refused within 50 ms of their last
    byte, with a code that says whose fault it is, and in twice as much memory as a
    request may take.
    """
    size = str(LIMIT)
    flags = ("--grpc_max_message_size", size, "--rest_max_body_size", size)
    flags += ("--max_response_size", str(ANSWER))
    config = build(run.folder)
    with Subject(run.folder, "--config_path", str(config), *flags) as subject:
        with connect(subject.ready()) as channel:
            bombs = Bombs(channel, subject)
            bombs.throw()  # what is needed the first time
            bombs.forget()
            before = subject.state()
            at_once = AT_ONCE if run.tier is Tier.NIGHT else 1
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(lambda _: bombs.throw(), run.times()))
            is_live = subject.is_live(channel)
        slowest, taken = bombs.slowest
        return [
            Figure("kinds of bombs", len(MESSAGES) + len(BODIES) + 1),
            none(
                f"taken, or refused as a fault of ours {bombs.strange}",
                len(bombs.strange),
            ),
            seconds(
                "until one is refused, median",
                percentile(bombs.taken, 50),
                REFUSED_WITHIN,
            ),
            seconds(f"until one is refused, of {slowest}", taken),
            Figure(
                "memory after one, beyond that before it",
                bombs.largest / MIB,
                "MiB",
                at_most=TWICE * at_once,
            ),
            none("servers that do not answer any more", not is_live),
            *subject.left(before),
        ]


class Bombs:
    """Made once; what came of each."""

    def __init__(self, channel: grpc.Channel, subject: Subject) -> None:
        self._channel = channel
        self._subject = subject
        self._rest = subject.rest
        self._messages = {name: make() for name, make in MESSAGES.items()}
        self._bodies = {name: make() for name, make in BODIES.items()}
        self._inflated = gzip.compress(bytes(64 * LIMIT))
        self.forget()

    def forget(self) -> None:
        """What came of those before."""
        self.taken: list[float] = []
        self.strange: list[str] = []
        self._by_kind: dict[str, float] = {}
        self._size = self._subject.memory()
        self.largest = 0
        """Bytes."""

    @property
    def slowest(self) -> tuple[str, float]:
        """The kind that takes longest at its best, and seconds."""
        return max(self._by_kind.items(), key=lambda each: each[1])

    def throw(self) -> None:
        """One of each kind."""
        for name, message in self._messages.items():
            begun = time.perf_counter()
            code, _ = refusal(self._channel, message)
            self._note(f"gRPC: {name}", begun, code, code in REFUSALS)
        begun = time.perf_counter()
        code, _ = self._compressed()
        self._note("gRPC: a gigabyte, compressed", begun, code, code in REFUSALS)
        for name, body in self._bodies.items():
            begun = time.perf_counter()
            told = self._rest.ask("POST", "/v2/models/echo/infer", body).code
            self._note(f"REST: {name}", begun, str(told), told in CODES)
        headers = {"content-encoding": "gzip"}
        begun = time.perf_counter()
        told = self._rest.ask(
            "POST", "/v2/models/echo/infer", self._inflated, headers
        ).code
        self._note("REST: half a gigabyte, compressed", begun, str(told), told in CODES)

    def _compressed(self) -> tuple[str, str]:
        method: Any = self._channel.unary_unary(kserve.MODEL_INFER)
        message = ask(
            "echo", {"in": np.zeros(LIMIT // 2, np.uint8)}
        ).SerializeToString()
        gzipped = grpc.Compression.Gzip
        return status_of(lambda: method(message, timeout=60, compression=gzipped))

    def _note(self, name: str, begun: float, code: str, is_refused: bool) -> None:
        taken = time.perf_counter() - begun
        self.taken.append(taken)
        self._by_kind[name] = min(taken, self._by_kind.get(name, taken))
        size = self._subject.memory()
        self.largest = max(self.largest, size - self._size)
        self._size = size
        if not is_refused:
            self.strange.append(f"{name}: {code}")

"""pyovms.Tensor of every kind of memory and of what is none, in this process, and made by
handlers in the server's and in processes of their own: each is the memory that it was made
of, or refused.
"""

from __future__ import annotations

import json
from typing import Any, Final

import grpc
import numpy as np
from hypothesis import strategies as st

from ovms_mp.calculator.pyovms import Tensor
from tests.fuzz.fuzzing import a_line
from tests.wire.calls import ask, infer, status_of, text

DTYPES: Final = (
    *(
        "?",
        "u1",
        "i1",
        "u2",
        "<i2",
        ">i2",
        "u4",
        "i4",
        "u8",
        "i8",
        "f2",
        "f4",
        ">f4",
        "f8",
    ),
    *("c8", "g", "S3", "U2", "V5", "M8[s]", "m8[s]", "O", "i4,f8", "(2,)i2"),
)
BUFFERS: Final = (
    *("array", "bytes", "bytearray", "view", "cast", "scalar", "array.array", "ctypes"),
    *("none", "list", "text", "number", "released", "class", "endless"),
)
REFUSALS: Final = (TypeError, ValueError, BufferError, OverflowError)
"""What a handler may hear; an OverflowError is one of a shape."""

CODES: Final = {"OK", "INVALID_ARGUMENT"}

# The recipe of a tensor, as a client sends it to a handler.
MAKING: Final = """
import array
import ctypes

import numpy as np


class Endless:
    def __buffer__(self, flags):
        raise SystemError("no memory for you")

    def __array__(self, *_, **__):
        raise RuntimeError("nor an array")

    def __iter__(self):
        while True:
            yield 1


def memory(recipe):
    made = np.zeros(recipe["shape"], np.dtype(recipe["dtype"]))
    if made.dtype.kind in "uif" and not made.dtype.names:
        made = (np.arange(made.size) % 100).reshape(made.shape).astype(made.dtype)
    for start, stop, step in recipe["slices"]:
        if made.ndim and step:
            made = np.moveaxis(made, 0, -1)[..., start:stop:step]
    if recipe["order"] == "F":
        made = np.asfortranarray(made)
    if recipe["order"] == "T":
        made = made.T
    kind = recipe["buffer"]
    if kind == "array":
        return made
    if kind == "bytes":
        return made.tobytes()
    if kind == "bytearray":
        return bytearray(made.tobytes())
    if kind == "view":
        return memoryview(np.ascontiguousarray(made))
    if kind == "cast":
        return memoryview(made.tobytes()).cast("c")
    if kind == "scalar":
        return made.flat[0] if made.size else np.float32(1)
    if kind == "array.array":
        return array.array("d", [1.0] * made.size)
    if kind == "ctypes":
        return (ctypes.c_int * made.size)()
    if kind == "released":
        view = memoryview(b"abc")
        view.release()
        return view
    others = {"none": None, "list": [1, 2], "text": "abc", "number": 5}
    return others.get(kind, Endless if kind == "class" else Endless())
"""
HANDLER: Final = f"""
import json

from pyovms import Tensor
{MAKING}

class OvmsPythonModel:
    def execute(self, inputs):
        recipe = json.loads(bytes(inputs[0]))
        said = recipe["said"]
        if said == ["endless"]:
            said = Endless()
        return [Tensor(recipe["name"], memory(recipe), said, recipe["datatype"])]
"""

_LENGTHS: Final = st.integers(0, 4)
RECIPES: Final = st.fixed_dictionaries(
    {
        "buffer": st.sampled_from(["array"] * 8) | st.sampled_from(BUFFERS),
        "dtype": st.sampled_from(DTYPES),
        "shape": st.lists(_LENGTHS, max_size=5),
        "slices": st.lists(
            st.tuples(st.integers(-2, 3), st.integers(-2, 5), st.integers(-2, 3)),
            max_size=3,
        ),
        "order": st.sampled_from(["C", "F", "T"]),
        "name": st.sampled_from(["out"] * 8 + ["other", "", "\x00", 5, None]),
        "said": st.none()
        | st.lists(st.integers(-3, 2**70) | _LENGTHS, max_size=5)
        | st.sampled_from([[2**63], [-1], ["x"], [None], 7, "12", [1.5]]),
        "datatype": st.none()
        | st.sampled_from(["FP32", "BYTES", "INT64", "BF16", "", "X" * 300, "\n", 5]),
    }
)
_made: Final[dict[str, Any]] = {}
exec(MAKING, _made)  # the handler's own


def judge(recipe: dict[str, Any]) -> str:
    """In this process: the tensor shows the memory that it was made of, read-only."""
    try:
        given = _made["memory"](recipe)
    except REFUSALS:
        return "no memory"
    try:
        tensor = Tensor(recipe["name"], given, recipe["said"], recipe["datatype"])
    except REFUSALS:
        return "refused"
    seen = np.asarray(tensor)
    assert not seen.flags.writeable, recipe
    assert bytes(tensor) == np.asarray(memoryview(given)).tobytes(), recipe
    assert tensor.size == seen.nbytes == len(bytes(tensor)), recipe
    assert memoryview(tensor).shape == seen.shape, recipe
    assert isinstance(tensor.datatype, str) and isinstance(tensor.shape, tuple), recipe
    repr(tensor)
    return "made"


class Judge:
    """By a handler of a graph: the client gets it, or hears in a line why not."""

    def __init__(self, channel: grpc.Channel, graph: str) -> None:
        self._channel = channel
        self._graph = graph

    def __call__(self, recipe: dict[str, Any]) -> str:
        """The code."""
        request = ask(self._graph, {"in": text(json.dumps(recipe))})
        code, told = status_of(lambda: infer(self._channel, request))
        assert code in CODES, (code, told, recipe)
        assert a_line(told), (told, recipe)
        return code

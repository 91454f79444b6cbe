"""Messages as clients may send them, and mutilated ones."""

from __future__ import annotations

from hypothesis import strategies as st
from ovms_mp_protos import kserve

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)
NAMES = st.text(max_size=8)

ELEMENTS = {
    "bool_contents": st.booleans(),
    "int_contents": INT32,
    "int64_contents": INT64,
    "uint_contents": UINT32,
    "uint64_contents": UINT64,
    "fp32_contents": st.floats(width=32),
    "fp64_contents": st.floats(),
    "bytes_contents": st.binary(max_size=8),
}
DATATYPES = st.sampled_from(
    ["BOOL", "INT8", "INT64", "UINT8", "UINT64", "FP16", "FP32", "FP64", "BYTES", "X"]
)


@st.composite
def parameters(draw: st.DrawFn) -> kserve.InferParameter:
    choices = {
        "bool_param": st.booleans(),
        "int64_param": INT64,
        "string_param": NAMES,
        "double_param": st.floats(),
        "uint64_param": UINT64,
    }
    kind = draw(st.sampled_from([None, *choices]))
    if kind is None:
        return kserve.InferParameter()
    return kserve.InferParameter(**{kind: draw(choices[kind])})


@st.composite
def contents(draw: st.DrawFn) -> kserve.InferTensorContents:
    fields = draw(st.lists(st.sampled_from(sorted(ELEMENTS)), max_size=2, unique=True))
    return kserve.InferTensorContents(
        **{name: draw(st.lists(ELEMENTS[name], max_size=5)) for name in fields}
    )


@st.composite
def requests(draw: st.DrawFn) -> kserve.ModelInferRequest:
    message = kserve.ModelInferRequest(
        model_name=draw(NAMES), model_version=draw(NAMES), id=draw(NAMES)
    )
    for name, value in draw(st.dictionaries(NAMES, parameters(), max_size=3)).items():
        message.parameters[name].CopyFrom(value)
    for _ in range(draw(st.integers(0, 3))):
        tensor = message.inputs.add(
            name=draw(NAMES),
            datatype=draw(DATATYPES),
            shape=draw(st.lists(INT64, max_size=4)),
        )
        if draw(st.booleans()):
            tensor.contents.CopyFrom(draw(contents()))
        for name, value in draw(
            st.dictionaries(NAMES, parameters(), max_size=1)
        ).items():
            tensor.parameters[name].CopyFrom(value)
    for name in draw(st.lists(NAMES, max_size=2)):
        message.outputs.add(name=name).parameters["p"].bool_param = True
    message.raw_input_contents.extend(
        draw(st.lists(st.binary(max_size=12), max_size=3))
    )
    return message


@st.composite
def mutilated(draw: st.DrawFn) -> bytes:
    """A request's bytes, cut, overwritten, grown or with parts repeated."""
    return draw(mutilate(draw(requests()).SerializeToString()))


@st.composite
def mutilate(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole`, cut, overwritten, grown or with parts repeated."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        to = draw(st.integers(at, len(data)))
        match draw(st.sampled_from(["cut", "set", "grow", "repeat", "drop"])):
            case "cut":
                del data[at:]
            case "set" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "grow":
                data[at:at] = draw(st.binary(min_size=1, max_size=11))
            case "repeat":
                data[at:at] = data[at:to]
            case _:
                del data[at:to]
    return bytes(data)

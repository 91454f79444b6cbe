"""What is told of a graph's streams is the same by every door, and is what comes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from ovms_mp_protos import kserve
from tritonclient.grpc import model_config_pb2

from ovms_mp.cli import main
from ovms_mp.core.tensor import Datatype
from tests.wire import zoo
from tests.wire.calls import Request, Stream, ask, infer
from tests.wire.rest import Rest
from tests.wire.servers import Server, serving

# Its type knows nothing of what is in it.
MODEL_CONFIG: Any = model_config_pb2

Told = Mapping[str, tuple[str, tuple[int, ...]]]
"""Datatypes and shapes by the names of streams, in their order."""

ANY: Final = ("INVALID", ())
PIXELS: Final = ("UINT8", (-1, -1, -1))

HANDLER: Final = """
import numpy as np
from pyovms import Tensor


class OvmsPythonModel:
    tensors = {"py_more": ("FP32", [-1, 10]), "py_best": ("INT64", [-1])}

    def execute(self, inputs):
        rows = np.array(inputs[0], copy=False)
        return [Tensor("py_best", rows.argmax(axis=1))]
"""


def converting(source: str, target: str, *, to_python: bool) -> str:
    options = "mediapipe.PyTensorOvTensorConverterCalculatorOptions"
    ends = (
        ("OVTENSOR", "OVMS_PY_TENSOR") if to_python else ("OVMS_PY_TENSOR", "OVTENSOR")
    )
    name = f'tag_to_output_tensor_names {{ key: "{ends[1]}" value: "{target}" }}'
    return zoo.node(
        "PyTensorOvTensorConverterCalculator",
        f'input_stream: "{ends[0]}:{source}"',
        f'output_stream: "{ends[1]}:{target}"',
        options=f"{options} {name}",
    )


RESPOND: Final = """
from ovms_mp.calculator import Calculator, Input, Output
from ovms_mp.core.messages import InferRequest, InferResponse


class HollowCalculator(Calculator):
    request = Input(InferRequest, "REQUEST")
    response = Output(InferResponse, "RESPONSE")

    def process(self, ctx):
        ctx.send(self.response, InferResponse("", ""))
"""

GRAPHS: Final[Mapping[str, tuple[str, Told, Told]]] = {
    "echo": (zoo.ECHO, {"in": ANY}, {"out": ANY}),
    "image": (zoo.GRAPHS["image"], {"in": PIXELS}, {"out": PIXELS}),
    "whole": (
        zoo.GRAPHS["whole"].replace("RespondCalculator", "HollowCalculator"),
        {"in": ANY},
        {"out": ANY},
    ),
    "add": (
        zoo.GRAPHS["add"],
        {"in": ("FP32", (1, 10))},
        {"out": ("FP32", (1, 10))},
    ),
    "fan": (
        zoo.GRAPHS["fan"],
        {"in": ("FP32", (1, 10))},
        {"same": ("FP32", (1, 10)), "more": ("FP32", (1, 10))},
    ),
    "join": (
        zoo.GRAPHS["join"],
        {"a": ("INT64", (1, 2)), "b": ("FP32", (1, 3))},
        {"sum": ("FP32", (1,)), "double": ("INT64", (1, 2))},
    ),
    "free": (
        zoo.graph(
            ["OVTENSOR:in"],
            ["OVTENSOR:out"],
            zoo.session("ranged"),
            zoo.inferring({"x": "in"}, {"y": "out"}),
        ),
        {"in": ("FP32", (-1, -1))},
        {"out": ("FP32", (-1, -1))},
    ),
    "nested": (
        zoo.graph(
            ["OVTENSOR:in"],
            ["OVTENSOR:out"],
            zoo.node("Inner", 'input_stream: "in"', 'output_stream: "out"'),
        ),
        {"in": ("FP16", (1, 2))},
        {"out": ("FP16", (2, 2))},
    ),
    "python": (
        zoo.graph(
            ["OVTENSOR:in"],
            ["OVTENSOR:best"],
            zoo.session("ranged"),
            zoo.inferring({"x": "in"}, {"y": "more"}),
            converting("more", "py_more", to_python=True),
            zoo.python("best.py", "py_more", "py_best"),
            converting("py_best", "best", to_python=False),
        ),
        {"in": ("FP32", (-1, -1))},
        {"best": ("INT64", (-1,))},
    ),
}
"""A pbtxt, and what is known of its inputs and outputs."""

INNER: Final = 'type: "Inner"\n' + zoo.graph(
    ["x"],
    ["y"],
    zoo.passing("x passed"),
    zoo.session("halves"),
    zoo.inferring({"x": "passed"}, {"y": "y"}),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("metadata")
    models = zoo.models()
    wanted = ("add_one", "pair", "ranged", "halves")
    for name in wanted:
        zoo.add_model(folder, name, models[name])
    for name, (pbtxt, _, _) in GRAPHS.items():
        zoo.add_graph(folder, name, pbtxt, best=HANDLER)
    (folder / "nested" / "inner.pbtxt").write_text(INNER)
    graphs = [{"name": name} for name in GRAPHS]
    return zoo.write_config(folder, [zoo.entry(name) for name in wanted], graphs)


@pytest.fixture(scope="module")
def server(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    calculators = tmp_path_factory.mktemp("calculators")
    (calculators / "respond.py").write_text(RESPOND)
    with serving(config, calculators_path=calculators) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel


def by_grpc(channel: grpc.Channel, name: str) -> tuple[Told, Told]:
    method: Any = channel.unary_unary(
        kserve.MODEL_METADATA, None, kserve.ModelMetadataResponse.FromString
    )
    request = kserve.ModelMetadataRequest(name=name).SerializeToString()
    told = method(request, timeout=30)
    assert (told.name, list(told.versions), told.platform) == (name, ["1"], "OpenVINO")
    inputs, outputs = (
        {each.name: (each.datatype, tuple(each.shape)) for each in tensors}
        for tensors in (told.inputs, told.outputs)
    )
    return inputs, outputs


def by_rest(server: Server, name: str) -> tuple[Told, Told]:
    told = Rest(server.app.rest_port).get(f"/v2/models/{name}").json
    inputs, outputs = (
        {each["name"]: (each["datatype"], tuple(each["shape"])) for each in told[side]}
        for side in ("inputs", "outputs")
    )
    return inputs, outputs


def by_triton(server: Server, name: str) -> tuple[Told, Told]:
    with triton.InferenceServerClient(server.address) as client:
        answer: Any = client.get_model_config(name)
    told = answer.config
    types = MODEL_CONFIG.DataType
    inputs, outputs = (
        {
            each.name: (types.Name(each.data_type)[len("TYPE_") :], tuple(each.dims))
            for each in tensors
        }
        for tensors in (told.input, told.output)
    )
    return inputs, outputs


@pytest.mark.parametrize("name", GRAPHS)
def test_every_door_tells_the_same_of_each_stream(
    server: Server, channel: grpc.Channel, name: str
) -> None:
    _, inputs, outputs = GRAPHS[name]
    expected = dict(inputs), dict(outputs)
    for told in (
        by_grpc(channel, name),
        by_rest(server, name),
        by_triton(server, name),
    ):
        assert told == expected
        assert [list(each) for each in told] == [list(inputs), list(outputs)]


# As `in  ndarray  FP32 [1, 10]`
_EXPLAINED: Final = re.compile(r" {6}\s*(\S+)\s+\S+(?:  (\w+) \[(.*)\])?")


@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "whole"])
def test_so_does_who_explains_the_graph_without_a_server(
    config: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for pictures of which no more is known: they are told by their payload there."""
    assert main(["explain", str(config), name]) == 0
    lines = iter(capsys.readouterr().out.splitlines())
    found: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {}
    heading = ""
    for line in lines:
        if not line.startswith(" "):
            heading = line
        elif heading in {"input streams", "output streams"}:
            match = _EXPLAINED.fullmatch(line)
            assert match, line
            stream = match[1].rpartition(":")[2]
            shape = tuple(int(each) for each in (match[3] or "").split(", ") if each)
            found.setdefault(heading, {})[stream] = (match[2] or "INVALID", shape)
    _, inputs, outputs = GRAPHS[name]
    for said, told in zip(found.values(), (inputs, outputs), strict=True):
        assert said == {
            stream: ANY if what == PIXELS else what for stream, what in told.items()
        }


def request(name: str) -> Request:
    """One that is made of what is told of the graph: 3 where a length is free."""
    _, inputs, _ = GRAPHS[name]
    arrays: dict[str, Any] = {}
    for stream, (datatype, shape) in inputs.items():
        free = [3 if length < 0 else length for length in shape]
        arrays[stream] = np.ones(free, Datatype[datatype].dtype)
    return ask(name, arrays)


def fits(answer: Any, outputs: Told) -> None:
    for each in answer.outputs:
        datatype, shape = outputs[each.name]
        assert each.datatype == datatype
        assert len(each.shape) == len(shape)
        assert all(t in {-1, c} for t, c in zip(shape, each.shape, strict=True))


TELLING: Final = [
    name for name, (_, inputs, _) in GRAPHS.items() if ANY not in inputs.values()
]


@pytest.mark.parametrize("name", TELLING)
def test_what_is_told_is_what_is_taken_and_what_comes(
    channel: grpc.Channel, name: str
) -> None:
    _, _, outputs = GRAPHS[name]
    answer = infer(channel, request(name))
    assert {each.name for each in answer.outputs} == set(outputs)
    fits(answer, outputs)
    with Stream(channel, request(name)) as stream:
        for _ in outputs:
            fits(stream.answer(), outputs)
        stream.half_close()
        assert stream.end() == ("OK", "")

"""Numbers that nodes send as they are leave a graph as tensors, and metadata say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.wire.servers import Server, serving

CALCULATOR: Final = '''
"""Sends numbers: those that its input names, as JSON."""

import json

from ovms_mp.calculator import Calculator, Input, Output


class SendCalculator(Calculator):
    timestamp_offset = 0
    given = Input(object)
    flag = Output(bool, "FLAG")
    count = Output(int, "COUNT")
    score = Output(float, "SCORE")
    some = Output(object, "SOME")

    def process(self, ctx):
        flag, count, score, some = json.loads(bytes(ctx[self.given][0]).rstrip(b"\\0"))
        ctx.send(self.flag, flag)
        ctx.send(self.count, count)
        ctx.send(self.score, score)
        ctx.send(self.some, some)
'''
PBTXT: Final = """
input_stream: "OVTENSOR:given"
output_stream: "FLAG:flag"
output_stream: "OVTENSOR:count"
output_stream: "FLOAT:score"
output_stream: "TENSOR:some"
node {
  calculator: "SendCalculator"
  input_stream: "given"
  output_stream: "FLAG:flag"
  output_stream: "COUNT:count"
  output_stream: "SCORE:score"
  output_stream: "SOME:some"
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("numbers")
    calculators, home = folder / "calculators", folder / "numbers"
    for each in (calculators, home):
        each.mkdir()
    (calculators / "send.py").write_text(CALCULATOR)
    (home / "graph.pbtxt").write_text(PBTXT)
    config = {"model_config_list": [], "mediapipe_config_list": [{"name": "numbers"}]}
    (folder / "config.json").write_text(json.dumps(config))
    with serving(folder / "config.json", calculators_path=calculators) as server:
        assert server.app.catalog.is_servable_ready("numbers", ""), server.log
        yield server


def asked(server: Server, *numbers: Any) -> dict[str, tuple[str, Any]]:
    """Datatype and array of each output."""
    text = triton.InferInput("given", [1], "BYTES")
    text.set_data_from_numpy(np.array([json.dumps(numbers).encode()], object))
    with triton.InferenceServerClient(server.address) as client:
        result: Any = client.infer("numbers", [text])
    outputs = result.get_response().outputs
    return {e.name: (e.datatype, result.as_numpy(e.name)) for e in outputs}


def test_a_number_is_a_tensor_of_one(server: Server):
    """To its last bit."""
    found = asked(server, True, -(2**63), 0.1, 7)
    for name, datatype, value in (
        ("flag", "BOOL", True),
        ("count", "INT64", -(2**63)),
        ("score", "FP64", 0.1),
        ("some", "INT64", 7),
    ):
        assert found[name][0] == datatype
        assert found[name][1].tolist() == [value]


@pytest.mark.parametrize(
    ("numbers", "datatype"),
    [
        ([True, False], "BOOL"),
        ([1, 2, 3], "INT64"),
        ([1, True], "INT64"),
        ([0.5], "FP64"),
        ([1, 0.5, 2], "FP64"),
    ],
)
def test_a_list_of_numbers_is_a_tensor_of_as_many(
    server: Server, numbers: list[Any], datatype: str
):
    found, array = asked(server, False, 0, 0.0, numbers)["some"]
    assert found == datatype
    assert array.tolist() == numbers


def test_metadata_tell_of_streams_that_are_declared_as_numbers(server: Server):
    with triton.InferenceServerClient(server.address) as client:
        metadata: Any = client.get_model_metadata("numbers")
    outputs = {each.name: (each.datatype, [*each.shape]) for each in metadata.outputs}
    assert outputs == {
        "flag": ("BOOL", [1]),
        "count": ("INT64", [1]),
        "score": ("FP64", [1]),
        "some": ("INVALID", []),
    }


@pytest.mark.parametrize(
    ("some", "said"),
    [
        (2**63, 'output stream "some": a number of more than 64 bits'),
        ([1, 2**64], 'output stream "some": a number of more than 64 bits'),
        ([1, None], 'output stream "some" carries list; a stream of tensors takes'),
        ({"a": 1}, 'output stream "some" carries dict; a stream of tensors takes'),
    ],
)
def test_what_makes_no_tensor_is_told(server: Server, some: Any, said: str):
    with pytest.raises(InferenceServerException) as caught:
        asked(server, True, 1, 1.0, some)
    assert caught.value.status() == "StatusCode.INTERNAL"
    assert said in str(caught.value)

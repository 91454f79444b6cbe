"""The texts of docs/streaming.md are those that a client of a stream reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import pytest
from ovms_mp_clients.tensors import encode
from ovms_mp_protos import kserve

from tests.docs.blocks import Table, blocks_of
from tests.docs.server import DocumentedServer

PAGE = "docs/streaming.md"
ONE = np.ones(1, np.float32)
BOTH = {"first": ONE, "second": ONE}

# A graph that needs a side packet, and one whose queue of one input fills up.
NEEDY = """
    input_stream: "in"
    output_stream: "out"
    input_side_packet: "threshold"
    node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }
    node {
      calculator: "SidePacketToStreamCalculator"
      input_side_packet: "threshold"
      output_stream: "AT_PRESTREAM:seen"
    }
"""
FULL = """
    input_stream: "in0"
    input_stream: "in1"
    output_stream: "out0"
    output_stream: "out1"
    max_queue_size: 1
    report_deadlock: true
    node {
      calculator: "PassThroughCalculator"
      input_stream: "in0" input_stream: "in1"
      output_stream: "out0" output_stream: "out1"
    }
"""


def request(**values: object) -> kserve.ModelInferRequest:
    return encode("sum", BOTH, parameters=values)  # pyright: ignore[reportArgumentType]


def named(model: str, version: str = "") -> kserve.ModelInferRequest:
    made = encode(model, BOTH)
    made.model_version = version
    return made


def special(timestamp: int) -> kserve.ModelInferRequest:
    return request(OVMS_MP_TIMESTAMP=timestamp)


# By how a row begins: what is sent after a request that fits.
SURVIVED = {
    "has an input that does not fit": encode("sum", {"third": ONE}),
    "has a timestamp that is no int64": request(OVMS_MP_TIMESTAMP="now"),
    "has one of MediaPipe's special": special(2**63 - 1),
    "names another graph": named("other"),
    "names another version": named("sum", "2"),
    "is no `ModelInferRequest`": b"\xff\xff",
}
NOTE = "; partial deserialization of subsequent requests"

# By how a row begins: everything that is sent.
FATAL = {
    "a timestamp that does not increase": (request(), special(0)),
    "a calculator or a Python node fails": (
        encode("sum", {"first": -ONE, "second": -ONE}),
    ),
    "a side packet that the graph needs": (encode("needy", {"in": ONE}),),
    "a parameter is neither": (request(speed=1.5),),
    "half-close before any request": (),
    "the graph waits for one input": tuple(
        encode("full", {"in0": ONE}) for _ in range(3)
    ),
}


@pytest.fixture(scope="module")
def address(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("streaming")
    files = {
        block.note.removeprefix("file: "): block.text
        for block in blocks_of((root / PAGE).read_text())
        if block.note.startswith("file: ")
    }
    files["models/needy/graph.pbtxt"] = NEEDY
    files["models/full/graph.pbtxt"] = FULL
    files["models/config.json"] = """{
      "model_config_list": [],
      "mediapipe_config_list": [{"name": "sum"}, {"name": "needy"}, {"name": "full"}]
    }"""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    command = "ovms-mp --config_path models/config.json --port 9000"
    server = DocumentedServer(command, folder, {})
    yield server.translated("localhost:9000")
    server.stop()


def stream(
    address: str, *requests: kserve.ModelInferRequest | bytes
) -> tuple[list[kserve.ModelStreamInferResponse], grpc.StatusCode, str]:
    """Responses, and the status in the end."""
    messages = [
        each if isinstance(each, bytes) else each.SerializeToString()
        for each in requests
    ]
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_stream(kserve.MODEL_STREAM_INFER)(
            iter(messages), timeout=10
        )
        answers: list[kserve.ModelStreamInferResponse] = []
        with suppress(grpc.RpcError):
            answers.extend(map(kserve.ModelStreamInferResponse.FromString, call))
        return answers, call.code(), call.details()


def row_of(table: Table, beginning: str) -> tuple[str, ...]:
    (row,) = [row for row in table.rows if row[0].startswith(beginning)]
    return row


def test_every_row_is_tried(tables: dict[str, Table]) -> None:
    for name, tried in (
        ("what a stream survives", SURVIVED),
        ("what ends a stream", FATAL),
    ):
        assert len(tables[name].rows) == len(tried)


@pytest.mark.parametrize("beginning", SURVIVED)
def test_a_stream_survives_a_request_that_does_not_fit(
    beginning: str, address: str, tables: dict[str, Table]
) -> None:
    text = row_of(tables["what a stream survives"], beginning)[1]
    fits = special(5)
    after = special(9)
    answers, code, details = stream(address, fits, SURVIVED[beginning], after)
    assert (code, details) == (grpc.StatusCode.OK, "")
    _, refusal, last = answers
    assert not last.error_message
    assert refusal.infer_response.parameters["error_code"].string_param
    if text.startswith("`"):
        assert refusal.error_message.startswith(text.split("`")[1])
    assert refusal.error_message.endswith(NOTE) == ("as above" in text or NOTE in text)


@pytest.mark.parametrize("beginning", FATAL)
def test_a_stream_ends_with_code_and_text(
    beginning: str, address: str, tables: dict[str, Table]
) -> None:
    _, code, text = row_of(tables["what ends a stream"], beginning)
    _, actual, details = stream(address, *FATAL[beginning])
    assert actual.name == code.strip("`")
    assert details.startswith(text.strip("`"))

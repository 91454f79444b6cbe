"""Bytes of ours are read by tritonclient as they were meant, and the other way round."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from ovms_mp_protos import kserve
from tritonclient.grpc import service_pb2 as triton

PARAMETERS = {
    "bool": kserve.InferParameter(bool_param=True),
    "int": kserve.InferParameter(int64_param=-(2**63)),
    "string": kserve.InferParameter(string_param="ü"),
    "double": kserve.InferParameter(double_param=0.1),
    "uint": kserve.InferParameter(uint64_param=2**64 - 1),
}

CONTENTS = kserve.InferTensorContents(
    bool_contents=[True, False],
    int_contents=[-1, 2**31 - 1],
    int64_contents=[-(2**63)],
    uint_contents=[2**32 - 1],
    uint64_contents=[2**64 - 1],
    fp32_contents=[0.5, float("inf")],
    fp64_contents=[0.1, -0.0],
    bytes_contents=[b"", b"\xff\x00"],
)

REQUEST = kserve.ModelInferRequest(
    model_name="model",
    model_version="1",
    id="id",
    parameters=PARAMETERS,
    inputs=[
        kserve.ModelInferRequest.InferInputTensor(
            name="x",
            datatype="FP32",
            shape=[1, -1, 2**40],
            parameters=PARAMETERS,
            contents=CONTENTS,
        )
    ],
    outputs=[
        kserve.ModelInferRequest.InferRequestedOutputTensor(
            name="y", parameters=PARAMETERS
        )
    ],
    raw_input_contents=[b"", b"\x00\xff"],
)

STREAM_RESPONSE = kserve.ModelStreamInferResponse(
    error_message="no",
    infer_response=kserve.ModelInferResponse(
        model_name="model",
        model_version="1",
        id="id",
        parameters=PARAMETERS,
        outputs=[
            kserve.ModelInferResponse.InferOutputTensor(
                name="y",
                datatype="BYTES",
                shape=[0],
                parameters=PARAMETERS,
                contents=CONTENTS,
            )
        ],
        raw_output_contents=[b"\x01"],
    ),
)

METADATA = kserve.ModelMetadataResponse(
    name="model",
    versions=["1", "2"],
    platform="OpenVINO",
    inputs=[
        kserve.ModelMetadataResponse.TensorMetadata(
            name="x", datatype="FP32", shape=[-1, 3]
        )
    ],
    outputs=[kserve.ModelMetadataResponse.TensorMetadata(name="y")],
)


@pytest.mark.parametrize(
    "message", [REQUEST, STREAM_RESPONSE, METADATA], ids=lambda m: type(m).__name__
)
def test_a_message_with_every_field_survives_tritonclient(message: Message) -> None:
    other_class = getattr(triton, type(message).__name__)
    other = other_class.FromString(message.SerializeToString(deterministic=True))
    assert str(other) == str(message)
    back = type(message).FromString(other.SerializeToString(deterministic=True))
    assert back == message


def test_these_messages_leave_no_field_unset() -> None:
    for message in (REQUEST, STREAM_RESPONSE, METADATA, CONTENTS):
        fields = {field.name for field, _ in message.ListFields()}
        assert fields == {field.name for field in message.DESCRIPTOR.fields}

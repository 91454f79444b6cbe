"""Reflection knows the services that are offered, and what they are made of."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from ovms_mp_protos import kserve

from ovms_mp.frontend.grpc.reflection import Reflection
from ovms_mp.frontend.transport.seam import Code
from tests.fakes.call import FakeStreamCall

SERVICES = ("grpc.health.v1.Health", "inference.GRPCInferenceService")


@pytest.fixture
def reflection() -> Reflection:
    return Reflection(kserve.pool.FindServiceByName(name).file for name in SERVICES)


def ask(reflection: Reflection, **question: Any) -> kserve.ServerReflectionResponse:
    return reflection.answer(kserve.ServerReflectionRequest(host="h", **question))


def files(response: kserve.ServerReflectionResponse) -> list[FileDescriptorProto]:
    return [
        FileDescriptorProto.FromString(each)
        for each in response.file_descriptor_response.file_descriptor_proto
    ]


def test_services_are_listed_by_their_names(reflection: Reflection) -> None:
    response = ask(reflection, list_services="")
    listed = [each.name for each in response.list_services_response.service]
    assert listed == sorted(SERVICES)
    assert response.valid_host == "h"
    assert response.original_request.HasField("list_services")


@pytest.mark.parametrize(
    "symbol",
    [
        "inference.GRPCInferenceService",
        "inference.GRPCInferenceService.ModelInfer",
        "inference.ModelInferRequest",
        "inference.ModelInferRequest.InferInputTensor",
        "inference.ModelInferRequest.model_name",
        "inference.InferParameter.parameter_choice",
        "grpc.health.v1.HealthCheckResponse.ServingStatus",
    ],
)
def test_a_symbol_leads_to_the_file_that_defines_it(
    reflection: Reflection, symbol: str
) -> None:
    first, *_ = files(ask(reflection, file_containing_symbol=symbol))
    assert symbol.startswith(first.package + ".")


def test_files_that_are_told_are_complete(reflection: Reflection) -> None:
    pool = DescriptorPool()
    for service in SERVICES:
        for file in reversed(files(ask(reflection, file_containing_symbol=service))):
            pool.AddSerializedFile(file.SerializeToString())
    for service in SERVICES:
        told = {m.name for m in pool.FindServiceByName(service).methods}
        assert told == {m.name for m in kserve.pool.FindServiceByName(service).methods}


def test_a_file_is_found_by_its_name(reflection: Reflection) -> None:
    name = kserve.ModelInferRequest.DESCRIPTOR.file.name
    first, *_ = files(ask(reflection, file_by_filename=name))
    assert first.name == name


def test_a_known_message_has_no_extensions(reflection: Reflection) -> None:
    name = "inference.ModelInferRequest"
    response = ask(reflection, all_extension_numbers_of_type=name)
    assert response.all_extension_numbers_response.base_type_name == name
    assert not response.all_extension_numbers_response.extension_number


@pytest.mark.parametrize(
    "question",
    [
        {"file_by_filename": "no.proto"},
        {"file_containing_symbol": "mediapipe.CalculatorGraphConfig"},
        {"file_containing_symbol": ""},
        {"all_extension_numbers_of_type": "no.Message"},
        {
            "file_containing_extension": kserve.ExtensionRequest(
                containing_type="inference.ModelInferRequest", extension_number=1
            )
        },
    ],
)
def test_what_is_not_offered_is_not_found(
    reflection: Reflection, question: dict[str, Any]
) -> None:
    response = ask(reflection, **question)
    assert response.error_response.error_code == Code.NOT_FOUND.value
    assert response.error_response.error_message


def test_a_question_without_content_is_invalid(reflection: Reflection) -> None:
    response = ask(reflection)
    assert response.error_response.error_code == Code.INVALID_ARGUMENT.value


def test_one_question_is_answered_before_the_next_is_read(
    reflection: Reflection,
) -> None:
    call = FakeStreamCall()
    session = reflection.session()
    session.on_open(call)
    question = kserve.ServerReflectionRequest(list_services="").SerializeToString()
    for _ in range(2):
        assert call.take_credit()
        session.on_message(question)
        assert call.credits == 0
        assert call.read()
    session.on_half_close()
    assert call.status == (Code.OK, "")


def test_a_question_that_cannot_be_parsed_ends_the_stream(
    reflection: Reflection,
) -> None:
    call = FakeStreamCall()
    session = reflection.session()
    session.on_open(call)
    session.on_message(b"\xff")
    assert call.status is not None
    assert call.status[0] is Code.INVALID_ARGUMENT

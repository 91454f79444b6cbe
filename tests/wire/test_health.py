"""grpc.health.v1 and server reflection of a whole server, by their raw methods."""

from __future__ import annotations

from typing import Any, Final

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from ovms_mp_protos import kserve

from tests.wire import zoo
from tests.wire.calls import status_of

SERVING: Final = kserve.HealthCheckResponse.SERVING
SERVICE: Final = "inference.GRPCInferenceService"


def request(name: str) -> bytes:
    return kserve.HealthCheckRequest(service=name).SerializeToString()


@pytest.mark.parametrize("name", ["", SERVICE, "add_one", "echo"])
def test_what_is_served_is_serving(channel: grpc.Channel, name: str) -> None:
    check: Any = channel.unary_unary(
        kserve.HEALTH_CHECK, None, kserve.HealthCheckResponse.FromString
    )
    assert check(request(name)).status == SERVING


def test_a_name_that_nothing_has_is_not_found(channel: grpc.Channel) -> None:
    check: Any = channel.unary_unary(kserve.HEALTH_CHECK)
    assert status_of(lambda: check(request("nothing"))) == (
        "NOT_FOUND",
        "unknown service",
    )


def test_all_servables_are_listed(channel: grpc.Channel) -> None:
    ask: Any = channel.unary_unary(
        kserve.HEALTH_LIST, None, kserve.HealthListResponse.FromString
    )
    statuses = {name: each.status for name, each in ask(b"").statuses.items()}
    wanted = {"", *zoo.models(), *zoo.GRAPHS}
    assert statuses == dict.fromkeys(wanted, SERVING)


@pytest.mark.parametrize(
    ("name", "status"),
    [("echo", SERVING), ("nothing", kserve.HealthCheckResponse.SERVICE_UNKNOWN)],
)
def test_who_watches_is_told_at_once(
    channel: grpc.Channel, name: str, status: int
) -> None:
    watch: Any = channel.unary_stream(
        kserve.HEALTH_WATCH, None, kserve.HealthCheckResponse.FromString
    )
    states = watch(request(name), timeout=20)
    assert next(states).status == status
    states.cancel()


@pytest.mark.parametrize(
    "path", [kserve.SERVER_REFLECTION_INFO, kserve.V1ALPHA_SERVER_REFLECTION_INFO]
)
def test_who_has_no_protos_learns_enough_to_ask(
    channel: grpc.Channel, path: str
) -> None:
    question = kserve.ServerReflectionRequest(file_containing_symbol=SERVICE)
    reflect: Any = channel.stream_stream(
        path, None, kserve.ServerReflectionResponse.FromString
    )
    (answer,) = reflect(iter([question.SerializeToString()]), timeout=20)
    pool = DescriptorPool()
    for each in reversed(answer.file_descriptor_response.file_descriptor_proto):
        pool.Add(FileDescriptorProto.FromString(each))
    method = pool.FindServiceByName(SERVICE).FindMethodByName("ModelMetadata")
    ask: Any = channel.unary_unary(
        f"/{SERVICE}/{method.name}",
        GetMessageClass(method.input_type).SerializeToString,
        GetMessageClass(method.output_type).FromString,
    )
    metadata = ask(GetMessageClass(method.input_type)(name="join"))
    assert [each.name for each in metadata.outputs] == ["sum", "double"]

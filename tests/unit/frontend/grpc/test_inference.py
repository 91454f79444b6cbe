"""Unary handlers: bytes in, the catalog's answer as bytes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ovms_mp_protos import kserve

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest, InferResponse, ServableMetadata
from ovms_mp.core.pending import Cancelled, Pending
from ovms_mp.frontend.grpc.inference import InferenceService
from ovms_mp.frontend.transport.seam import Abort, Code
from tests.fakes.call import FakeCall
from tests.fakes.catalog import FakeCatalog, FakeServable, echo, servable

Ask = Callable[..., Any]


@pytest.fixture
def catalog() -> FakeCatalog:
    return FakeCatalog({"model": servable("model")})


@pytest.fixture
def ask(catalog: FakeCatalog) -> Ask:
    handlers = InferenceService(catalog, "1.2.3").handlers()

    def ask(path: str, message: bytes = b"", remaining: float | None = None) -> Any:
        return handlers[path](message, FakeCall(remaining))

    return ask


def infer_message(name: str = "model") -> bytes:
    message = kserve.ModelInferRequest(model_name=name, id="7")
    message.inputs.add(name="x", datatype="UINT8", shape=[3])
    message.raw_input_contents.append(b"abc")
    return message.SerializeToString()


def aborts(code: Code, text: str, ask: Callable[[], object]) -> None:
    with pytest.raises(Abort) as caught:
        ask()
    assert caught.value.code is code
    assert text in caught.value.details


def deferred(pending: Pending[InferResponse]) -> FakeServable:
    return FakeServable(ServableMetadata("later", ("1",), (), ()), lambda _: pending)


def test_a_server_that_answers_is_live(ask: Ask) -> None:
    assert kserve.ServerLiveResponse.FromString(ask(kserve.SERVER_LIVE)).live


@pytest.mark.parametrize("ready", [True, False])
def test_a_server_is_ready_when_its_catalog_is(
    ask: Ask, catalog: FakeCatalog, ready: bool
) -> None:
    catalog.is_ready = ready
    response = kserve.ServerReadyResponse.FromString(ask(kserve.SERVER_READY))
    assert response.ready is ready


def test_the_server_has_ovms_name_and_our_version(ask: Ask) -> None:
    response = kserve.ServerMetadataResponse.FromString(ask(kserve.SERVER_METADATA))
    assert response.name == "OpenVINO Model Server"
    assert response.version == "1.2.3"
    assert not response.extensions


@pytest.mark.parametrize("ready", [True, False])
def test_a_servable_is_ready_when_the_catalog_says_so(
    ask: Ask, catalog: FakeCatalog, ready: bool
) -> None:
    catalog.servables["model"].is_ready = ready
    request = kserve.ModelReadyRequest(name="model").SerializeToString()
    response = kserve.ModelReadyResponse.FromString(ask(kserve.MODEL_READY, request))
    assert response.ready is ready


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (kserve.MODEL_READY, kserve.ModelReadyRequest(name="no").SerializeToString()),
        (
            kserve.MODEL_METADATA,
            kserve.ModelMetadataRequest(name="no").SerializeToString(),
        ),
        (kserve.MODEL_INFER, infer_message("no")),
    ],
)
def test_a_name_that_nothing_has_is_not_found(
    ask: Ask, path: str, message: bytes
) -> None:
    text = "Model with requested name is not found"
    aborts(Code.NOT_FOUND, text, lambda: ask(path, message))


def test_metadata_are_those_of_the_servable(ask: Ask) -> None:
    request = kserve.ModelMetadataRequest(name="model").SerializeToString()
    response = kserve.ModelMetadataResponse.FromString(
        ask(kserve.MODEL_METADATA, request)
    )
    assert (response.name, response.versions) == ("model", ["1"])


def test_an_answer_that_is_there_is_given_at_once(ask: Ask) -> None:
    response = kserve.ModelInferResponse.FromString(
        ask(kserve.MODEL_INFER, infer_message())
    )
    assert response.id == "7"
    assert response.raw_output_contents == [b"abc"]


def test_an_answer_that_comes_later_is_given_later(
    ask: Ask, catalog: FakeCatalog
) -> None:
    pending = Pending[InferResponse]()
    catalog.servables["model"] = deferred(pending)
    answer = ask(kserve.MODEL_INFER, infer_message())
    assert isinstance(answer, Pending)
    assert not answer.is_settled
    pending.complete(echo(InferRequest("model", id="8")))
    assert kserve.ModelInferResponse.FromString(answer.value()).id == "8"


def test_a_failure_that_comes_later_is_an_abort(ask: Ask, catalog: FakeCatalog) -> None:
    pending = Pending[InferResponse]()
    catalog.servables["model"] = deferred(pending)
    answer = ask(kserve.MODEL_INFER, infer_message())
    assert isinstance(answer, Pending)
    pending.fail(ServingError(Status.RESOURCE_EXHAUSTED, "queue is full"))
    text = "Resource exhausted - queue is full"
    aborts(Code.RESOURCE_EXHAUSTED, text, answer.value)


def test_the_end_of_the_call_cancels_what_the_servable_does(
    ask: Ask, catalog: FakeCatalog
) -> None:
    told: list[str] = []
    pending = Pending[InferResponse](lambda: told.append("cancelled"))
    catalog.servables["model"] = deferred(pending)
    answer = ask(kserve.MODEL_INFER, infer_message())
    assert isinstance(answer, Pending)
    answer.cancel()
    assert told == ["cancelled"]
    assert isinstance(pending.error, Cancelled)


def test_a_call_whose_time_is_over_is_not_begun(ask: Ask, catalog: FakeCatalog) -> None:
    catalog.servables["model"] = deferred(Pending[InferResponse]())
    aborts(
        Code.DEADLINE_EXCEEDED,
        "Deadline exceeded",
        lambda: ask(kserve.MODEL_INFER, infer_message(), remaining=0.0),
    )


@pytest.mark.parametrize(
    "path",
    [
        kserve.SERVER_LIVE,
        kserve.SERVER_READY,
        kserve.SERVER_METADATA,
        kserve.MODEL_READY,
        kserve.MODEL_METADATA,
        kserve.MODEL_INFER,
    ],
)
def test_a_message_that_is_none_is_an_invalid_argument(ask: Ask, path: str) -> None:
    text = "Invalid message: it is no inference."
    aborts(Code.INVALID_ARGUMENT, text, lambda: ask(path, b"\xff\xff"))


def test_an_unforeseen_error_is_internal_and_nothing_more(
    ask: Ask, catalog: FakeCatalog
) -> None:
    def explode(_: InferRequest) -> Pending[InferResponse]:
        raise RuntimeError("/secret")

    catalog.servables["model"].answer = explode
    aborts(
        Code.INTERNAL,
        "Internal server error - incident",
        lambda: ask(kserve.MODEL_INFER, infer_message()),
    )

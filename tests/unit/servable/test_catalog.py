"""Who asks by name gets the servable, a wait, or OVMS's reason why not."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest, InferResponse, ServableMetadata
from ovms_mp.core.pending import Pending
from ovms_mp.servable.catalog import Catalog
from ovms_mp.servable.description import State
from ovms_mp.telemetry.metrics import Metrics


class Served:
    """A servable of either kind that answers at once, or when told to."""

    def __init__(self, name, version=1, answer=None):
        self.name, self.version, self.answer = name, version, answer
        self.is_closed = False
        self.trouble = ""

    def metadata(self):
        return ServableMetadata(self.name, (str(self.version),), (), ())

    def infer(self, request):
        if self.answer is not None:
            return self.answer
        pending = Pending()
        pending.complete(InferResponse(self.name, str(self.version)))
        return pending

    def open_stream(self, request, sink):
        return self, request, sink

    def close(self):
        self.is_closed = True


@pytest.fixture
def catalog():
    return Catalog(Metrics())


def with_model(catalog, *versions, failed=()):
    catalog.announce_model("m")
    for version in (*versions, *failed):
        catalog.model_loading("m", version)
    for version in versions:
        catalog.model_loaded("m", version, Served("m", version))
    for version in failed:
        catalog.model_failed("m", version)
    catalog.model_settled("m")


def version_of(catalog, wanted):
    return catalog.infer(InferRequest("m", wanted)).result(5).model_version


def refusal(call, *args):
    with pytest.raises(ServingError) as caught:
        call(*args)
    return caught.value.status


def test_the_default_version_is_the_highest_that_is_available(catalog):
    with_model(catalog, 1, 3, failed=[5])
    assert version_of(catalog, "") == version_of(catalog, "0") == "3"
    assert version_of(catalog, "1") == "1"
    assert catalog.metadata("m", "").versions == ("1", "3")


@pytest.mark.parametrize(
    ("name", "version", "status"),
    [
        ("nope", "", Status.MEDIAPIPE_DEFINITION_NAME_MISSING),
        ("m", "2", Status.MODEL_VERSION_MISSING),
        ("m", "x", Status.MODEL_VERSION_INVALID_FORMAT),
        ("m", "-1", Status.MODEL_VERSION_INVALID_FORMAT),
        ("m", str(2**63), Status.MODEL_VERSION_INVALID_FORMAT),
        ("m", "5", Status.MODEL_VERSION_NOT_LOADED_YET),
    ],
)
def test_what_is_not_there_is_refused_with_ovms_status(catalog, name, version, status):
    with_model(catalog, 1, failed=[5])
    assert refusal(catalog.infer, InferRequest(name, version)) is status


def test_readiness_of_models(catalog):
    with_model(catalog, 1, failed=[5])
    assert catalog.is_servable_ready("m", "")
    assert catalog.is_servable_ready("m", "1")
    assert not catalog.is_servable_ready("m", "5")
    assert refusal(catalog.is_servable_ready, "m", "2") is Status.MODEL_VERSION_MISSING
    assert refusal(catalog.is_servable_ready, "nope", "") is Status.MODEL_NAME_MISSING


def test_a_graph_is_served_whatever_version_is_asked_for(catalog):
    catalog.announce_graph("g")
    assert not catalog.is_servable_ready("g", "")
    catalog.graph_loaded("g", Served("g"))
    assert catalog.is_servable_ready("g", "7")
    assert catalog.infer(InferRequest("g", "7")).result(5).model_name == "g"


def test_a_graph_that_failed_is_unavailable_and_its_neighbours_are_not(catalog):
    with_model(catalog, 1)
    catalog.announce_graph("g")
    catalog.graph_failed("g")
    status = Status.MEDIAPIPE_DEFINITION_NOT_LOADED_YET
    assert refusal(catalog.infer, InferRequest("g")) is status
    assert refusal(catalog.open_stream, InferRequest("g"), None) is status
    assert refusal(catalog.metadata, "g", "") is status
    assert version_of(catalog, "") == "1"


def test_a_name_is_the_models_until_its_graph_is_there_and_then_the_graphs(catalog):
    with_model(catalog, 1)
    catalog.announce_graph("m")
    assert version_of(catalog, "") == "1"
    catalog.graph_loaded("m", Served("m", 77))
    assert version_of(catalog, "") == "77"
    catalog.model_removed("m")
    assert version_of(catalog, "1") == "77"
    catalog.announce_model("m")
    assert version_of(catalog, "") == "77"
    catalog.graph_removed("m")
    catalog.model_loading("m", 2)
    catalog.model_loaded("m", 2, Served("m", 2))
    assert version_of(catalog, "") == "2"


def test_a_stream_is_on_a_graph_or_a_model_that_is_there(catalog):
    catalog.announce_model("m")
    status = Status.MEDIAPIPE_DEFINITION_NAME_MISSING
    assert refusal(catalog.open_stream, InferRequest("nobody"), None) is status
    status = Status.MODEL_VERSION_NOT_LOADED_YET
    assert refusal(catalog.open_stream, InferRequest("m"), None) is status
    with_model(catalog, 1)
    status = Status.MODEL_VERSION_MISSING
    assert refusal(catalog.open_stream, InferRequest("m", "2"), None) is status


def test_a_request_that_comes_early_waits_for_its_model(catalog):
    catalog.announce_model("m")
    early = catalog.infer(InferRequest("m"))
    assert not early.is_settled
    catalog.model_loading("m", 1)
    assert not early.is_settled
    catalog.model_loaded("m", 1, Served("m"))
    assert early.result(5).model_version == "1"


def test_a_request_that_waits_is_told_when_its_model_fails(catalog):
    catalog.announce_model("m")
    early = catalog.infer(InferRequest("m", "1"))
    catalog.model_loading("m", 1)
    catalog.model_failed("m", 1)
    with pytest.raises(ServingError) as caught:
        early.result(5)
    assert caught.value.status is Status.MODEL_VERSION_NOT_LOADED_YET


def test_patience_ends():
    catalog = Catalog(Metrics(), graph_patience=0.01)
    catalog.announce_graph("g")
    with pytest.raises(ServingError) as caught:
        catalog.infer(InferRequest("g")).result(5)
    assert caught.value.status is Status.MEDIAPIPE_DEFINITION_NOT_LOADED_YET


def test_giving_up_a_request_that_waited_reaches_what_serves_it(catalog):
    catalog.announce_graph("g")
    early = catalog.infer(InferRequest("g"))
    told = threading.Event()
    catalog.graph_loaded("g", Served("g", answer=Pending(told.set)))
    early.cancel()
    assert told.is_set()


def test_a_request_that_gave_up_waiting_is_not_served(catalog):
    catalog.announce_graph("g")
    catalog.infer(InferRequest("g")).cancel()
    catalog.graph_loaded("g", Served("g", answer=Pending()))
    assert catalog.names() == ("g",)


@pytest.mark.parametrize("is_latching", [False, True])
def test_ready_is_who_has_loaded_and_serves_all_or_has_done_so_once(is_latching):
    catalog: Any = Catalog(Metrics(), is_latching=is_latching)
    told = []
    catalog.watch(lambda: told.append(catalog.is_ready))
    assert not catalog.is_ready
    with_model(catalog, failed=[1])
    assert not catalog.is_ready
    catalog.first_load_done()
    assert told[-1] is is_latching
    catalog.model_loading("m", 1)
    catalog.model_loaded("m", 1, Served("m", 1))
    assert told[-1]
    catalog.announce_graph("g")
    assert told[-1] is is_latching
    catalog.graph_loaded("g", Served("g"))
    assert told[-1]
    catalog.model_removed("m")
    catalog.graph_removed("g")
    assert told[-1]
    catalog.stop()
    assert not told[-1]


def test_a_graph_that_can_answer_nobody_is_not_ready_and_is_not_given_up(catalog):
    graph = Served("g")
    catalog.announce_graph("g")
    catalog.graph_loaded("g", graph)
    catalog.first_load_done()
    graph.trouble = "its processes keep ending"
    assert not catalog.is_ready and not catalog.is_servable_ready("g", "")
    assert catalog.available() == {}
    (listed,) = catalog.index()
    (told,) = catalog.status()
    assert (listed.state, listed.reason) == (State.UNAVAILABLE, graph.trouble)
    (version,) = told.versions
    assert (version.state.name, version.error_code) == (
        "LOADING",
        "FAILED_PRECONDITION",
    )
    assert version.reason == graph.trouble
    assert catalog.infer(InferRequest("g")).result(5).model_name == "g"
    graph.trouble = ""
    assert catalog.is_ready and catalog.is_servable_ready("g", "")


@pytest.mark.parametrize("is_latching", [False, True])
def test_a_refused_name_that_nobody_serves_is_one_that_is_missing(is_latching):
    catalog: Any = Catalog(Metrics(), is_latching=is_latching)
    with_model(catalog, 1)
    catalog.first_load_done()
    catalog.refusals.become(
        {"m": "another shape", "n": "no such shape"}, "", are_complete=True
    )
    assert catalog.is_ready is is_latching
    catalog.refusals.become(
        {"m": "another shape"}, "the config cannot be read", are_complete=True
    )
    assert catalog.is_ready


def test_close_releases_every_servable(catalog):
    model, graph = Served("m"), Served("g")
    catalog.announce_model("m")
    catalog.announce_graph("g")
    catalog.model_loading("m", 1)
    catalog.model_loaded("m", 1, model)
    catalog.graph_loaded("g", graph)
    catalog.close()
    assert model.is_closed and graph.is_closed and catalog.names() == ()


def test_only_what_is_served_becomes_a_label(catalog):
    with_model(catalog, 1)
    catalog.metadata("m", "")
    with pytest.raises(ServingError):
        catalog.metadata("made-up", "")
    page = catalog._metrics.render().decode()
    assert 'method="ModelMetadata",name="m",version="1"} 1' in page
    assert "made-up" not in page

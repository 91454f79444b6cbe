"""grpc.health.v1, asked by a client that the test plays."""

from __future__ import annotations

import pytest
from ovms_mp_protos import kserve

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.frontend.grpc.health import HealthService, HealthWatch
from ovms_mp.frontend.transport.seam import Abort, Code
from tests.fakes.call import FakeCall, FakeStreamCall
from tests.fakes.catalog import FakeCatalog, servable

SERVING = kserve.HealthCheckResponse.SERVING
NOT_SERVING = kserve.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = kserve.HealthCheckResponse.SERVICE_UNKNOWN
SERVICE = "inference.GRPCInferenceService"


@pytest.fixture
def catalog() -> FakeCatalog:
    return FakeCatalog({"model": servable("model"), "graph": servable("graph")})


@pytest.fixture
def health(catalog: FakeCatalog) -> HealthService:
    return HealthService(catalog, (SERVICE,))


def asked(name: str) -> bytes:
    return kserve.HealthCheckRequest(service=name).SerializeToString()


def told(message: bytes | None) -> int:
    assert message is not None
    return kserve.HealthCheckResponse.FromString(message).status


def watch(health: HealthService, name: str) -> tuple[HealthWatch, FakeStreamCall]:
    call = FakeStreamCall()
    session = health.watch()
    session.on_open(call)
    assert call.take_credit()
    session.on_message(asked(name))
    session.on_half_close()
    return session, call


@pytest.mark.parametrize("name", ["", SERVICE])
@pytest.mark.parametrize(("ready", "status"), [(True, SERVING), (False, NOT_SERVING)])
def test_the_server_serves_when_it_is_ready(
    health: HealthService, catalog: FakeCatalog, name: str, ready: bool, status: int
) -> None:
    catalog.is_ready = ready
    assert told(health.check(asked(name), FakeCall())) == status


@pytest.mark.parametrize(("ready", "status"), [(True, SERVING), (False, NOT_SERVING)])
def test_a_servable_serves_when_it_is_ready(
    health: HealthService, catalog: FakeCatalog, ready: bool, status: int
) -> None:
    catalog.servables["model"].is_ready = ready
    assert told(health.check(asked("model"), FakeCall())) == status


def test_an_unknown_name_is_not_found(health: HealthService) -> None:
    with pytest.raises(Abort) as caught:
        health.check(asked("nothing"), FakeCall())
    assert caught.value.code is Code.NOT_FOUND


def test_a_name_that_is_known_but_refused_does_not_serve() -> None:
    class Loading(FakeCatalog):
        def is_servable_ready(
            self, name: str, version: str, interface: str | None = None
        ) -> bool:
            raise ServingError(Status.MODEL_VERSION_NOT_LOADED_YET)

    health = HealthService(Loading(), ())
    assert told(health.check(asked("model"), FakeCall())) == NOT_SERVING


def test_a_list_has_the_server_and_every_servable(
    health: HealthService, catalog: FakeCatalog
) -> None:
    catalog.servables["graph"].is_ready = False
    response = kserve.HealthListResponse.FromString(health.list(b"", FakeCall()))
    assert {name: each.status for name, each in response.statuses.items()} == {
        "": SERVING,
        "model": SERVING,
        "graph": NOT_SERVING,
    }


def test_a_watcher_is_told_the_status_and_each_change(
    health: HealthService, catalog: FakeCatalog
) -> None:
    _, call = watch(health, "model")
    assert told(call.read()) == SERVING
    health.notify()
    assert call.read() is None
    catalog.servables["model"].is_ready = False
    health.notify()
    assert told(call.read()) == NOT_SERVING
    assert call.status is None


def test_a_watcher_learns_that_its_servable_comes_and_goes(
    health: HealthService, catalog: FakeCatalog
) -> None:
    _, call = watch(health, "new")
    assert told(call.read()) == SERVICE_UNKNOWN
    catalog.servables["new"] = servable("new")
    health.notify()
    assert told(call.read()) == SERVING
    del catalog.servables["new"]
    health.notify()
    assert told(call.read()) == SERVICE_UNKNOWN


def test_a_watcher_that_reads_slowly_is_told_what_is_true_now(
    health: HealthService, catalog: FakeCatalog
) -> None:
    _, call = watch(health, "model")
    for ready in (False, True, False):
        catalog.servables["model"].is_ready = ready
        health.notify()
    assert [told(message) for message in call.read_all()] == [SERVING, NOT_SERVING]
    assert call.most_unread == 1


def test_a_watcher_that_has_gone_is_forgotten(
    health: HealthService, catalog: FakeCatalog
) -> None:
    session, call = watch(health, "model")
    assert told(call.read()) == SERVING
    session.on_cancel()
    catalog.servables["model"].is_ready = False
    health.notify()
    assert call.read() is None


@pytest.mark.parametrize("message", [None, b"\xff"])
def test_a_watch_of_nothing_is_an_invalid_argument(
    health: HealthService, message: bytes | None
) -> None:
    call = FakeStreamCall()
    session = health.watch()
    session.on_open(call)
    if message is not None:
        session.on_message(message)
    session.on_half_close()
    assert call.status is not None
    assert call.status[0] is Code.INVALID_ARGUMENT


def test_a_watcher_is_told_that_the_server_stops_and_its_call_ends(
    health: HealthService,
) -> None:
    _, call = watch(health, "model")
    assert told(call.read()) == SERVING
    health.close()
    assert told(call.read()) == NOT_SERVING
    assert call.status is not None
    assert call.status[0] is Code.UNAVAILABLE
    assert told(health.check(asked(""), FakeCall())) == NOT_SERVING


def test_a_watcher_to_whom_a_status_is_under_way_is_told_the_end_before_it_comes(
    health: HealthService,
) -> None:
    _, call = watch(health, "model")
    health.close()
    assert call.status is None
    assert [told(each) for each in call.read_all()] == [SERVING, NOT_SERVING]
    assert call.status == (Code.UNAVAILABLE, "the server stops")

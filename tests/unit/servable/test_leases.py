"""Whoever uses a servable has it until he is done; the last one closes the door."""

from __future__ import annotations

from typing import Any

import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest
from ovms_mp.core.pending import Pending
from ovms_mp.servable import leases
from ovms_mp.servable.leases import Leased


class Served:
    """Does what the test has it do."""

    def __init__(self) -> None:
        self.answer: Any = Pending()
        self.sink: Any = None
        self.is_closed = False
        self.is_cancelled = False

    def infer(self, request: InferRequest) -> Any:
        if isinstance(self.answer, ServingError):
            raise self.answer
        return self.answer

    def repeat(self, request: InferRequest) -> None: ...

    def open_stream(self, request: InferRequest, sink: Any) -> Any:
        self.infer(request)
        self.sink = sink
        return self

    def feed(self, request: InferRequest) -> None: ...

    def half_close(self) -> None: ...

    hold = release = half_close

    def cancel(self) -> None:
        self.is_cancelled = True

    def response(self, response: Any) -> None: ...

    error = room = finished = response

    def close(self) -> None:
        assert not self.is_closed, "closed twice"
        self.is_closed = True


REFUSED = ServingError(Status.INVALID_SHAPE)


def leased() -> tuple[Any, Any]:
    served = Served()
    return Leased(served), served  # pyright: ignore[reportReturnType]


def test_it_is_closed_when_it_is_retired_and_the_last_user_has_left() -> None:
    it, served = leased()
    first, second = it.lease(), it.lease()
    told: list[str] = []
    it.retire(lambda: told.append("closed"))
    first.release()
    assert not served.is_closed
    first.release()  # again is nothing
    assert not served.is_closed
    second.release()
    assert served.is_closed and told == ["closed"]


def test_without_users_it_is_closed_at_once_and_takes_none_any_more() -> None:
    it, served = leased()
    it.retire()
    assert served.is_closed
    assert it.lease() is None


def test_nothing_is_closed_while_it_is_served() -> None:
    it, served = leased()
    it.lease().release()
    assert not served.is_closed


@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
def test_a_request_is_a_user_until_it_is_answered_in_whatever_way(end: str) -> None:
    it, served = leased()
    answer = leases.infer(it.lease(), InferRequest("m"))
    it.retire()
    assert not served.is_closed
    {
        "complete": lambda: served.answer.complete("an answer"),
        "fail": lambda: served.answer.fail(REFUSED),
        "cancel": answer.cancel,
    }[end]()
    assert served.is_closed


@pytest.mark.parametrize("end", ["finished", "cancel"])
def test_a_stream_is_a_user_until_it_or_its_client_is_gone(end: str) -> None:
    it, served = leased()
    session = leases.open_stream(it.lease(), InferRequest("m"), served)
    it.retire()
    served.sink.response("an answer")
    session.feed(InferRequest("m"))
    session.half_close()
    assert not served.is_closed
    if end == "finished":
        served.sink.finished(None)
    session.cancel()
    assert served.is_closed and served.is_cancelled


@pytest.mark.parametrize("refused", ["infer", "open_stream"])
def test_who_is_refused_is_no_user(refused: str) -> None:
    it, served = leased()
    served.answer = REFUSED
    ask: Any = {
        "infer": lambda: leases.infer(it.lease(), InferRequest("m")),
        "open_stream": lambda: leases.open_stream(
            it.lease(), InferRequest("m"), served
        ),
    }[refused]
    with pytest.raises(ServingError):
        ask()
    it.retire()
    assert served.is_closed


def test_closing_is_left_to_who_has_the_time() -> None:
    later: list[Any] = []
    served = Served()
    it: Any = Leased(served, later.append)  # pyright: ignore[reportArgumentType]
    it.lease().release()
    it.retire()
    assert not served.is_closed
    (close,) = later
    close()
    assert served.is_closed

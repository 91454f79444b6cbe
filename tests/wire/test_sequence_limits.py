"""Sequences of a server that flags describe: how many, and how long they are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc
import numpy as np
import pytest

from ovms_mp.settings import settings_from
from tests.wire import zoo
from tests.wire.calls import Request, arrays, ask, infer, refusal
from tests.wire.servers import serving
from tests.wire.waiting import until

FULL: Final = (
    "UNAVAILABLE",
    "Max sequence number has been reached. Could not create new sequence.",
)
GONE: Final = ("NOT_FOUND", "Sequence with provided ID does not exist")
MOMENT: Final = 0.002
"""Minutes; the flag has none that is shorter than one."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return zoo.add_model(tmp_path, "total", zoo.models()["total"])


@contextmanager
def served(home: Path, *, minutes: float, **flags: str) -> Iterator[grpc.Channel]:
    given = {"model_name": "total", "model_path": str(home), **flags}
    source = settings_from(given).source
    with (
        serving(source, sequence_cleaner_poll_wait_minutes=minutes) as server,
        server.connect() as channel,
    ):
        yield channel


def request(name: str, *, starts: bool = False, ends: bool = False) -> Request:
    return ask(
        "total",
        {"x": np.ones((1, 4), np.float32)},
        parameters={
            "sequence_id": name,
            "sequence_start": starts,
            "sequence_end": ends,
        },
    )


def test_there_are_as_many_as_a_flag_says(home: Path) -> None:
    with served(home, minutes=5, max_sequence_number="2") as channel:
        for name in ("one", "two"):
            infer(channel, request(name, starts=True))
        assert refusal(channel, request("three", starts=True)) == FULL
        infer(channel, request("one", ends=True))
        infer(channel, request("three", starts=True))


def test_one_that_is_idle_for_the_cleaners_time_makes_room(home: Path) -> None:
    with served(home, minutes=MOMENT, max_sequence_number="1") as channel:
        infer(channel, request("one", starts=True))

        def has_room() -> bool:
            try:
                infer(channel, request("two", starts=True))
            except grpc.RpcError:
                return False
            return True

        assert until(has_room)
        assert refusal(channel, request("one")) == GONE


@pytest.mark.parametrize(
    ("minutes", "cleanup"), [(MOMENT, "false"), (0, "true")], ids=["kept", "never"]
)
def test_without_a_clean_up_it_stays(home: Path, minutes: float, cleanup: str) -> None:
    with served(home, minutes=minutes, idle_sequence_cleanup=cleanup) as channel:
        infer(channel, request("one", starts=True))
        gone = until(lambda: refused(channel), within=4 * 60 * MOMENT)
        assert not gone
        answer = infer(channel, request("one"))
        assert arrays(answer)["y"][0][0] == 2


def refused(channel: grpc.Channel) -> bool:
    """Whether a second start finds the sequence forgotten."""
    try:
        infer(channel, request("one", starts=True))
    except grpc.RpcError:
        return False
    return True

"""Each leak is found: a server that leaks on purpose does not pass, and what it leaks is
what the gate names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from ovms_mp_protos import kserve

from tests.gates import memory, reloads
from tests.gates.gate import Run, Tier
from tests.gates.kinds import STATELESS, Kind
from tests.gates.subject import Subject, build
from tests.python_nodes import site
from tests.wire.calls import Stream, ask, connect, floats, infer, text
from tests.wire.waiting import until

LEAKY = """
import logging
import os
import subprocess
import threading
import time

from pyovms import Tensor

KEPT = []


class OvmsPythonModel:
    def execute(self, inputs):
        word = bytes(inputs[0]).decode()
        if word.startswith("word"):
            KEPT.append(os.urandom(1 << 20))  # less fits in what malloc keeps
        if word == "files":
            KEPT.extend(open(__file__) for _ in range(20))
        if word == "threads":
            for _ in range(40):
                threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        if word == "processes":
            subprocess.Popen(["sleep", "60"])
        if word == "faults":
            raise OSError("at last")
        return [Tensor("out", word.upper().encode())]
"""
LEAK = site.graph(), {"handler": LEAKY}
SQUARE = np.zeros((512, 512), np.float32)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    folder = tmp_path_factory.mktemp("leaky")
    config = build(folder, leaky=LEAK)
    with Subject(folder, "--config_path", str(config)) as subject:
        with connect(subject.ready()) as channel:
            for kind in STATELESS:
                infer(channel, kind.ask(1))
        yield subject


def leak(subject: Subject, word: str) -> AbstractContextManager[object]:
    @contextmanager
    def leaking() -> Iterator[None]:
        with connect(subject.ready()) as channel:
            try:
                infer(channel, ask("leaky", {"in": text(word)}))
            except grpc.RpcError:
                assert word == "faults"
        yield

    return leaking()


def stream(subject: Subject) -> AbstractContextManager[object]:
    @contextmanager
    def open_() -> Iterator[None]:
        with connect(subject.ready()) as channel, Stream(channel) as one:
            one.send(ask("echo", {"in": floats(1)}))
            one.answer()
            yield

    return open_()


def slot(subject: Subject) -> AbstractContextManager[object]:
    @contextmanager
    def busy() -> Iterator[None]:
        with connect(subject.ready()) as channel:
            message = ask("sluggish", {"x": SQUARE}).SerializeToString()
            method = channel.unary_unary(kserve.MODEL_INFER)
            calls = [method.future(message, timeout=60) for _ in range(20)]
            assert until(lambda: subject.total("ovms_infer_req_active"))
            yield
            for each in calls:
                each.cancel()

    return busy()


LEAKS: dict[
    str, tuple[Callable[[Subject], AbstractContextManager[object]], set[str]]
] = {
    "files": (lambda s: leak(s, "files"), {"files more than before"}),
    "threads": (lambda s: leak(s, "threads"), {"threads more than before"}),
    "processes": (lambda s: leak(s, "processes"), {"processes more than before"}),
    "a stream": (stream, {"graphs that are open", "streams that are open"}),
    "an inference": (slot, {"infer requests that are busy"}),
    "nothing": (lambda s: leak(s, "nothing"), set()),
    "a fault": (lambda s: leak(s, "faults"), {"faults in the log"}),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", LEAKS)
def test_what_is_left_is_named(subject: Subject, name: str) -> None:
    leaking, expected = LEAKS[name]
    assert until(subject.is_idle)
    before = subject.state()

    def left() -> set[str]:
        found = subject.left(before, within=0.3)
        return {each.what for each in found if not each.holds()}

    with leaking(subject):
        # What is not leaked goes, if not at once where others use the machine.
        assert until(lambda: left() == expected), left()


@pytest.mark.timeout(300)
def test_a_handler_that_keeps_what_it_was_given_is_found(tmp_path: Path) -> None:
    keeper = Kind(
        "leaky",
        lambda n: {"in": text(f"word {n}")},
        lambda n: {"out": list(f"WORD {n}".encode())},
    )
    figures = memory.steady(Run(960, tmp_path, Tier.SHORT), keeper, leaky=LEAK)
    (growth,) = [each for each in figures if "growth" in each.what]
    assert not growth.holds()
    assert all(each.holds() for each in figures if each is not growth)


def test_reloads_that_keep_what_they_replace_are_found() -> None:
    """A megabyte each, as a compiled model would be."""
    first = reloads.ROUNDS_BEFORE * len(reloads.CHANGES)
    sizes = [(100 + n) << 20 for n in range(first + 25)]
    (growth,) = reloads.growth(sizes)
    assert not growth.holds()
    (growth,) = reloads.growth([100 << 20] * len(sizes))
    assert growth.holds()

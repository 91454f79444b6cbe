"""Whatever becomes of the process that compiles, the server knows what to do."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.inference.apart import Apart
from ovms_mp.inference.openvino import OpenVINOEngine
from tests.unit.inference import tiny
from tests.unit.inference.stand_ins import BEGIN, HURRY, PATIENCE, SLEEPS
from tests.wire.waiting import until

EXACT = replace(tiny.EXACT, nireq=2)
HERE = "is compiled in the server, not apart"

TELLS = """
import json
said = [os.sched_getscheduler(0) == os.SCHED_IDLE, sorted(os.sched_getaffinity(0))]
said += ["API_KEY" in os.environ, os.read(0, 1).decode()]
said.append(open("/proc/self/oom_score_adj").read())
frames.send(link, {}, [json.dumps(said).encode()])
"""


def test_the_process_has_what_nobody_else_wants_and_no_secrets(
    stand_in: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    module = stand_in(BEGIN + "frames.receive(link)" + TELLS)
    apart = Apart(module=module, look_seconds=PATIENCE)
    blob = apart.compiled(tmp_path / "model.xml", EXACT, {})
    assert blob is not None
    last = max(os.sched_getaffinity(0))
    assert json.loads(bytes(blob)) == [True, [last], False, "", "1000\n"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_module", "the process ended with exit code 1"),
        (BEGIN + "os._exit(7)", "the process ended with exit code 7"),
        (BEGIN + "link.sendall(bytes(100))", "the header cannot be read"),
        (BEGIN + "frames.send(link, {'error': 'too bad'}, [])", "too bad"),
        (SLEEPS, "it got next to nothing of a processor"),
    ],
)
def test_what_comes_to_nothing_is_compiled_in_the_server_and_said_once(
    stand_in: Callable[[str], str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    text: str,
    why: str,
) -> None:
    patience = 1 if text is SLEEPS else PATIENCE
    apart = Apart(smallest=0, module=stand_in(HURRY + text), look_seconds=patience)
    engine = OpenVINOEngine(apart=apart)
    path = tiny.save(tmp_path, tiny.add_one())
    model = engine.load(path, EXACT, beside=True)
    (given,) = model.infer([np.ones((1, 10), np.float32)]).result(60).outputs
    assert given.tolist() == [[2] * 10]
    model.close()
    engine.close()
    assert [each.getMessage() for each in caplog.records] == [
        f"model.xml {HERE}: {why}"
    ]


def test_what_openvino_does_not_take_back_is_compiled_in_the_server(
    stand_in: Callable[[str], str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers = BEGIN + "frames.receive(link)\nframes.send(link, {}, [b'rubbish'])"
    module = stand_in(HURRY + answers)
    apart = Apart(smallest=0, module=module, look_seconds=PATIENCE)
    engine = OpenVINOEngine(apart=apart)
    engine.load(tiny.save(tmp_path, tiny.add_one()), EXACT, beside=True).close()
    engine.close()
    assert "model.xml was compiled apart in vain" in caplog.text


def test_a_model_that_ends_the_process_is_refused_and_the_server_lives(
    stand_in: Callable[[str], str], tmp_path: Path
) -> None:
    ends = BEGIN + "frames.receive(link)\nos.kill(os.getpid(), signal.SIGSEGV)"
    module = stand_in(HURRY + ends)
    apart = Apart(smallest=0, module=module, look_seconds=PATIENCE)
    engine = OpenVINOEngine(apart=apart)
    path = tiny.save(tmp_path, tiny.add_one())
    with pytest.raises(ServingError) as caught:
        engine.load(path, EXACT, beside=True)
    assert caught.value.status is Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE
    assert caught.value.details == (
        "model.xml: to compile it ends the process that does by SIGSEGV"
    )
    engine.load(path, EXACT).close()
    engine.close()


def children() -> set[int]:
    """Processes of this one's, whichever thread has started them."""
    found: set[int] = set()
    for each in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found |= set(map(int, (each / "children").read_text().split()))
    return found


def test_who_stops_waits_for_no_process_and_leaves_none(
    stand_in: Callable[[str], str], tmp_path: Path
) -> None:
    module = stand_in(SLEEPS)
    apart = Apart(smallest=0, module=module, look_seconds=PATIENCE)
    engine = OpenVINOEngine(apart=apart)
    path = tiny.save(tmp_path, tiny.add_one())
    said: list[str] = []

    def load() -> None:
        with pytest.raises(ServingError) as caught:
            engine.load(path, EXACT, beside=True)
        said.append(caught.value.details)

    before = children()
    loading = threading.Thread(target=load)
    loading.start()
    assert until(lambda: bool(children() - before))
    (child,) = children() - before
    engine.abandon()
    loading.join(60)
    assert said == ["model.xml: the server stops"]
    load()
    assert said[1:] == said[:1]
    assert until(lambda: child not in children())
    engine.close()


def test_the_process_rests_as_long_as_it_works(
    stand_in: Callable[[str], str], tmp_path: Path
) -> None:
    """It would never stop to compute."""
    module = stand_in(HURRY + BEGIN + "frames.receive(link)\nwhile True: pass")
    apart = Apart(module=module, look_seconds=PATIENCE)
    before = children()
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(apart.compiled, tmp_path / "model.xml", EXACT, {})
        try:
            assert until(lambda: bool(children() - before))
            (child,) = children() - before
            assert until(lambda: state(child) == "T")
            # This thread, and the one that gives it its rests, may be held up.
            assert min(share(child) for _ in range(5)) < 0.75
        finally:
            apart.close()
        assert isinstance(waiting.exception(60), ServingError)


def state(pid: int) -> str:
    """Of a process, as /proc tells it: T has been stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def share(pid: int) -> float:
    """Of a processor, that a process has of half a second."""
    path, begun = Path(f"/proc/{pid}/schedstat"), time.monotonic()
    had = int(path.read_text().split()[0])
    time.sleep(0.5)
    more = int(path.read_text().split()[0]) - had
    return more / 1e9 / (time.monotonic() - begun)


OWNS = """
import sys
from pathlib import Path
from ovms_mp.inference.apart import Apart
from ovms_mp.inference.engine import ModelConfig
Apart(module="stand_in").compiled(Path("model.xml"), ModelConfig(), {})
"""


def test_the_process_ends_with_its_server_however_that_ends(
    stand_in: Callable[[str], str],
) -> None:
    says = BEGIN + "frames.receive(link)\nprint(os.getpid(), flush=True)"
    stand_in(says + "\ntime.sleep(600)\n")
    with subprocess.Popen(
        [sys.executable, "-c", OWNS], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        child = os.pidfd_open(int(server.stdout.readline()))
        server.kill()
        ended = select.poll()
        ended.register(child, select.POLLIN)
        assert ended.poll(60_000)
        os.close(child)
        assert server.wait() == -signal.SIGKILL

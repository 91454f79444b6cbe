"""Laws of worker processes that a client cannot see: where calls go, and what is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ovms_mp_calculators.python_model import Generation
from ovms_mp_calculators.python_output import Voice
from ovms_mp_calculators.python_pool import RemoteModel
from ovms_mp_calculators.python_remote import Spec

from ovms_mp.calculator import CalculatorError
from ovms_mp.calculator.metrics import Nobody
from ovms_mp.calculator.pyovms import Tensor
from ovms_mp.core.pending import Cancelled, Pending
from tests.wire.waiting import until

HANDLER = """
import os, time
from pathlib import Path
import numpy as np
from pyovms import Tensor

class OvmsPythonModel:
    def execute(self, inputs):
        word, _, rest = bytes(inputs[0]).decode().partition(" ")
        if word == "echo":
            return [Tensor("out", np.array(each)) for each in inputs]
        if word == "pid":
            return [Tensor("out", str(os.getpid()).encode())]
        if word == "wait":
            Path(rest + ".here").touch()
            while not Path(rest).exists():
                time.sleep(0.005)
        if word == "count":
            return ([Tensor("out", str(n).encode())] for n in range(3))
        if word == "kept":
            self.kept = np.asarray(inputs[1])
            return []
        if word == "recall":
            return [Tensor("out", self.kept)]
        if word == "fork":
            if os.fork() == 0:
                time.sleep(3600)
        return [Tensor("out", word.encode())]

    def finalize(self):
        Path(__file__).with_name(f"finalized-{os.getpid()}").touch()
"""
SESSIONS = """
import os
from pyovms import Tensor

class OvmsPythonModel:
    def execute(self, inputs, session):
        return [Tensor("out", str(os.getpid()).encode())]
"""


def model(folder: Path, code: str = HANDLER, **more: Any) -> RemoteModel:
    file = folder / "handler.py"
    file.write_text(code)
    label = 'node "worker"'
    return RemoteModel(Spec(file, label, {}, Voice(label), Nobody(), **more))


@pytest.fixture
def two(tmp_path: Path) -> Iterator[RemoteModel]:
    made = model(tmp_path, workers=2)
    yield made
    made.finalize()


def ask(session: Any, text: str, *more: Tensor) -> Pending[Any]:
    return session.execute([Tensor("in", text.encode()), *more])


def told(session: Any, text: str) -> str:
    (tensor,) = ask(session, text).result(30)
    return bytes(tensor).decode()


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_calls_go_to_whoever_is_free(two: RemoteModel, tmp_path: Path) -> None:
    session = two.open(is_serial=True)
    busy = ask(session, f"wait {tmp_path}/go")
    assert until((tmp_path / "go.here").exists)
    pids = {told(session, "pid") for _ in range(5)}
    assert len(pids) == 1
    (tmp_path / "go").touch()
    assert busy.result(30)


def test_a_session_stays_with_one_process(tmp_path: Path) -> None:
    two = model(tmp_path, SESSIONS, workers=2)
    sessions = [two.open(is_serial=True) for _ in range(4)]
    pids = {told(each, "") for _ in range(3) for each in sessions}
    assert {int(pid) for pid in pids} <= two.pids
    for each in sessions:
        assert len({told(each, "") for _ in range(5)}) == 1
    gone = int(told(sessions[0], ""))
    os.kill(gone, signal.SIGKILL)
    assert until(lambda: gone not in two.pids)
    with pytest.raises(CalculatorError, match="kept the session has ended") as caught:
        ask(sessions[0], "")
    assert caught.value.code == "UNAVAILABLE"
    assert told(two.open(is_serial=True), "")
    two.finalize()


def test_what_waited_for_a_process_that_ends_is_done_by_another(
    two: RemoteModel, tmp_path: Path
) -> None:
    session = two.open(is_serial=True)
    files = [tmp_path / name for name in ("one", "other")]
    begun = [ask(session, f"wait {file}") for file in files]
    assert until(lambda: all(Path(f"{file}.here").exists() for file in files))
    waiting = [ask(session, "pid") for _ in range(6)]
    (victim, survivor) = two.pids
    os.kill(victim, signal.SIGKILL)
    assert until(lambda: any(each.is_settled for each in begun))
    for file in files:
        file.touch()
    errors = [each.error for each in begun if each.error is not None]
    assert len(errors) == 1
    assert "ended by SIGKILL" in str(errors[0])
    for each in waiting:
        assert each.result(30)
    assert survivor in two.pids


def test_a_call_that_is_cancelled_is_interrupted_and_its_process_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = model(tmp_path)
    session = one.open(is_serial=True)
    pids = one.pids
    for number in range(20):
        call = ask(session, f"wait {tmp_path}/{number}")
        if number % 2:
            assert until((tmp_path / f"{number}.here").exists)
        call.cancel()
        with pytest.raises(Cancelled):
            call.result(30)
        assert told(session, "done") == "done"
    assert one.pids == pids
    one.finalize()
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


def test_tensors_of_all_sizes_and_kinds_cross_and_come_back(
    two: RemoteModel,
) -> None:
    session = two.open(is_serial=True)
    rng = np.random.default_rng(1)
    arrays = [
        rng.random((3, 4)).astype(np.float16),
        np.array(5, ">i4"),
        np.zeros((0, 3), np.uint8),
        rng.integers(0, 255, (720, 1280, 3), np.uint8),
        rng.random((300, 300))[::2, ::3],
        np.array([True, False]),
    ]
    tensors = [Tensor("in", each) for each in arrays]
    _, *back = ask(session, "echo", *tensors).result(30)
    for sent, found in zip(arrays, back, strict=True):
        assert np.array_equal(np.array(found), sent)
        assert np.array(found).dtype == sent.dtype
        assert found.data.readonly


def test_a_handler_may_keep_what_it_was_given(tmp_path: Path) -> None:
    one = model(tmp_path)
    session = one.open(is_serial=True)
    image = np.arange(1 << 18, dtype=np.uint32)
    ask(session, "kept", Tensor("image", image)).result(30)
    for _ in range(5):
        ask(session, "echo", Tensor("image", np.zeros_like(image))).result(30)
    (kept,) = ask(session, "recall").result(30)
    assert np.array_equal(np.array(kept), image)
    one.finalize()


def test_a_generation_goes_step_by_step_and_may_be_left(two: RemoteModel) -> None:
    session = two.open(is_serial=True)
    for steps in (1, 2, 4):
        generation: Generation = ask(session, "count").result(30)
        said: list[Any] = []
        for _ in range(steps):
            step = generation.step()
            assert isinstance(step, Pending)
            said.append(step.result(30))
        generation.close()
        generation.close()
        texts = [None if each is None else bytes(each[0]) for each in said]
        assert texts == [b"0", b"1", b"2", None][:steps]


def test_the_end_of_a_process_takes_what_it_has_forked_along(tmp_path: Path) -> None:
    one = model(tmp_path)
    session = one.open(is_serial=True)
    assert told(session, "fork") == "fork"
    (pid,) = one.pids
    group = [
        int(each.name)
        for each in Path("/proc").iterdir()
        if each.name.isdigit() and _group(each) == pid
    ]
    assert len(group) == 2
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: all(is_gone(each) for each in group))
    assert told(session, "again") == "again"
    one.finalize()


def _group(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[2])
    except (OSError, IndexError):
        return 0


def test_finalize_reaches_every_process_and_leaves_none(tmp_path: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    two = model(tmp_path, workers=2)
    pids = two.pids
    two.finalize()
    assert {each.name for each in tmp_path.glob("finalized-*")} == {
        f"finalized-{pid}" for pid in pids
    }
    assert until(lambda: all(is_gone(pid) for pid in pids))
    assert until(lambda: set(Path("/proc/self/fd").iterdir()) <= before)


LIAR = """
import ast, gc, time
from pyovms import Tensor

def the(name):
    return next(each for each in gc.get_objects() if type(each).__name__ == name)

class OvmsPythonModel:
    def execute(self, inputs):
        header = ast.literal_eval(bytes(inputs[0]).decode())
        if header:
            if header.get("id") == "right":
                header["id"] = the("Mail")._working_on
            the("Link").say(header, [b"abc"])
            time.sleep(3600)
        return [Tensor("out", b"true")]
"""


@pytest.mark.parametrize(
    "header",
    [
        {"id": 2**40, "end": True},
        {"id": "1"},
        {"id": True},
        {"id": "right", "tensors": 5},
        {"id": "right", "tensors": []},
        {"id": "right", "tensors": [["out", "FP32", [1], "<f4", [1]]]},
        {"id": "right", "tensors": [["out", "X", [1], "|O", [1]]]},
        {"id": "right", "tensors": [["out", "X", [1], "|u1", [-7, 2**70]]]},
        {"id": "right", "tensors": [["out", "X", ["a"], "|u1", [3]]]},
        {"id": "right", "tensors": [[None, "X", [1], "|u1", [3]]]},
        {"id": "right", "tensors": [["out", "X", [1], "garbage", [3]]]},
        {"id": "right", "tensors": [["out"]]},
        {"id": "right", "error": 5},
        {"log": "loud", "text": ""},
        {"log": 20},
        {"metrics": {"declared": [["gauge", "NO", "", [], []]], "recorded": []}},
        {"loaded": True, "is_async": False, "has_sessions": False},
    ],
    ids=str,
)
def test_a_process_that_lies_is_ended_and_replaced(
    tmp_path: Path, header: dict[str, Any]
) -> None:
    one = model(tmp_path, LIAR)
    session = one.open(is_serial=True)
    with pytest.raises(CalculatorError, match="nonsense") as caught:
        ask(session, repr(header)).result(30)
    assert caught.value.code == "UNAVAILABLE"
    assert told(session, "{}") == "true"
    one.finalize()


def test_what_is_loading_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """A worker that is started again while the graph is unloaded."""
    two = model(tmp_path, workers=2)
    slow = f"import time; time.sleep(3600)\n{HANDLER}"
    (tmp_path / "handler.py").write_text(slow)
    (victim, _) = two.pids
    os.kill(victim, signal.SIGKILL)
    assert until(lambda: victim not in two.pids)
    two.finalize()
    assert not two.pids or until(lambda: all(is_gone(pid) for pid in two.pids))


ALIKE = """
import os, random
import numpy as np
from pyovms import Tensor

class OvmsPythonModel:
    def execute(self, inputs):
        if bytes(inputs[0]) == b"draw":
            drawn = random.random(), float(np.random.rand())
            return [Tensor("out", str((os.getpid(), *drawn)).encode())]
        if bytes(inputs[0]) == b"compute":
            square = np.ones((1000, 1000)) @ np.ones((1000, 1000))
            return [Tensor("out", str(square.sum()).encode())]
"""


def test_no_two_processes_draw_the_same_numbers(tmp_path: Path) -> None:
    """They come from one template, whose generators they would have."""
    drawn: dict[str, tuple[str, ...]] = {}
    model_ = model(tmp_path, ALIKE, workers=2)
    while len(drawn) < 4:
        pid, *numbers = (
            told(model_.open(is_serial=True), "draw").strip("()").split(", ")
        )
        drawn.setdefault(pid, tuple(numbers))
        os.kill(int(pid), signal.SIGKILL)
        assert until(lambda pid=int(pid): pid not in model_.pids)
    model_.finalize()
    for numbers in zip(*drawn.values(), strict=True):
        assert len(set(numbers)) == len(drawn)


def test_a_process_may_use_all_threads_that_numpy_has(tmp_path: Path) -> None:
    """Those of the template are not there any more after the fork."""
    one = model(tmp_path, ALIKE)
    assert told(one.open(is_serial=True), "compute") == "1000000000.0"
    one.finalize()


def test_workers_outlive_what_they_are_forked_from_in_name_only(
    tmp_path: Path,
) -> None:
    """Whoever ends the template ends its workers' calls; then there is another one."""
    two = model(tmp_path, workers=2)
    session = two.open(is_serial=True)
    waiting = ask(session, f"wait {tmp_path}/never")
    assert until((tmp_path / "never.here").exists)
    before = two.pids
    parents = {parent(pid) for pid in before}
    (template,) = parents
    os.kill(template, signal.SIGKILL)
    with pytest.raises(CalculatorError, match="the node's process ended") as caught:
        waiting.result(30)
    assert caught.value.code == "UNAVAILABLE"
    assert until(lambda: all(is_gone(pid) for pid in before))
    assert until(lambda: len(two.pids - before) == 2)
    assert told(session, "again") == "again"
    assert {parent(pid) for pid in two.pids}.isdisjoint({template})
    two.finalize()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

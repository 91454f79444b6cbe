"""Memory that OpenVINO reads is alive while it does, and nobody's answer is another's."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from ovms_mp.inference.engine import ModelConfig
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.inference.openvino.slot import SHARED_FROM
from tests.unit.inference import tiny
from tests.unit.inference.slots import await_

LARGE: Final = 4 << 20

# A page that is given back to the system while it is read ends the process that reads:
# the array's memory is mapped, and unmapped when the array is gone.
_CHILD: Final = """
import ctypes, mmap, sys, gc
import numpy as np, openvino as ov
from openvino import opset13 as op

size, is_kept = int(sys.argv[1]), sys.argv[2] == "kept"
x = op.parameter([1, size], np.float32)
model = ov.Model([op.reduce_sum(op.tanh(x), op.constant(np.array([1])), False)], [x])

def fresh():
    mapped = mmap.mmap(-1, size * 4)
    return np.frombuffer(mapped, np.float32).reshape(1, size)

if is_kept:
    from ovms_mp.inference.openvino.engine import OpenVINOEngine
    from ovms_mp.inference.engine import ModelConfig
    from pathlib import Path
    ov.save_model(model, sys.argv[3])
    engine = OpenVINOEngine()
    loaded = engine.load(Path(sys.argv[3]), ModelConfig(nireq=2))
    for _ in range(20):
        asked = [loaded.infer([fresh()]) for _ in range(4)]
        gc.collect()
        asked[1].cancel()
        for each in (asked[0], asked[2], asked[3]):
            assert each.result(60).outputs[0][0] == 0
    loaded.close()
    engine.close()
else:
    request = ov.Core().compile_model(model, "CPU").create_infer_request()
    request.set_input_tensor(0, ov.Tensor(fresh(), shared_memory=True))
    gc.collect()
    request.infer()
"""


def child(folder: Path, how: str) -> int:
    command = [sys.executable, "-c", _CHILD, str(LARGE), how, str(folder / "model.xml")]
    return subprocess.run(command, check=False, timeout=120).returncode


@pytest.mark.timeout(180)
def test_shared_inputs_live_until_their_inference_is_over(tmp_path: Path) -> None:
    """A child process would be ended by the first read of memory that is gone: so it is
    where nobody keeps the array, which shows that this test could fail.
    """
    assert LARGE * 4 >= SHARED_FROM
    assert child(tmp_path, "lost") == -signal.SIGSEGV
    assert child(tmp_path, "kept") == 0


@pytest.mark.parametrize(
    "shape",
    [(1, 10), (1, SHARED_FROM // 4 + 1), (-1, 10)],
    ids=["small", "large", "any"],
)
@pytest.mark.parametrize("as_bytes", [True, False])
def test_no_tensor_becomes_another_requests(
    tmp_path: Path, shape: tuple[int, int], as_bytes: bool
) -> None:
    """Each user's values are his own, in every element, and outputs stay as they were
    told, however many inferences follow.
    """
    if as_bytes and shape[0] < 0:
        as_bytes = False  # whose shape bytes do not tell
    engine = OpenVINOEngine()
    config = ModelConfig(plugin_config=tiny.EXACT.plugin_config, nireq=3)
    model = engine.load(tiny.save(tmp_path, tiny.add_one(shape)), config)
    wrong: list[int] = []

    def use(first: int) -> None:
        told: list[tuple[int, np.ndarray]] = []
        for value in range(first, first + 25):
            x = np.full((1, shape[1]), value, np.float32)
            asked = model.infer([x.tobytes() if as_bytes else x])
            del x
            told.append((value, asked.result(60).outputs[0]))
        wrong.extend(value for value, y in told if not np.all(y == value + 1))

    users = [threading.Thread(target=use, args=(1000 * n,)) for n in range(5)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert wrong == []
    await_(lambda: model.busy == 0)
    assert model.waiting == 0
    model.close()
    engine.close()


def test_bytes_of_another_size_are_refused_and_leave_nothing_behind(
    tmp_path: Path,
) -> None:
    engine = OpenVINOEngine()
    model = engine.load(tiny.save(tmp_path, tiny.add_one((1, 10))), tiny.EXACT)
    for size in (0, 39, 41, 80):
        with pytest.raises(Exception, match="Internal inference error"):
            model.infer([bytes(size)]).result(30)
        assert model.busy == 0
    (y,) = model.infer([np.ones(10, np.float32).tobytes()]).result(30).outputs
    assert y.tolist() == [[2.0] * 10]
    model.close()
    engine.close()

"""Threads that use OpenVINO's tensors for the first time at the same time get through."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

# Three in ten of these hang if nobody has met numpy before.
_STARTS: Final = 12
_WITHIN: Final = 60.0  # seconds for one, which takes two

_PROGRAM: Final = """
import os, sys, threading
import numpy as np
import openvino as ov
from openvino import opset13 as op
import ovms_mp.inference.openvino.slot

x = op.parameter([4], np.float32)
model = ov.Core().compile_model(ov.Model([op.relu(x)], [x]), "CPU")
requests = [model.create_infer_request() for _ in range(8)]
sys.setswitchinterval(1e-7)
together = threading.Barrier(8)

def look(request):
    together.wait()
    request.get_input_tensor(0).data

threads = [threading.Thread(target=look, args=(each,)) for each in requests]
for each in threads:
    each.start()
for each in threads:
    each.join()
os._exit(0)
"""


def test_first_looks_at_tensors_do_not_wait_for_each_other() -> None:
    for _ in range(_STARTS):
        subprocess.run([sys.executable, "-c", _PROGRAM], timeout=_WITHIN, check=True)

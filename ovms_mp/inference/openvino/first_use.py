"""What OpenVINO's binding makes of numpy when it is first used is made here, before there are threads.

It makes it within a C++ static, and gives up the interpreter meanwhile. A second thread
that comes there then waits for the static with the interpreter in its hands, and neither
goes on: one start in some hundred, where two models were loaded at a time, never ended
(seen with 2026.4.1).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import openvino as ov

_NUMBERS: Final = (
    *(np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32),
    *(np.int64, np.uint64, np.float16, np.float32, np.float64),
)


def meet_numpy() -> None:
    """While a module is imported, which happens in one thread."""
    for each in _NUMBERS:
        assert ov.Tensor(np.zeros(1, each), shared_memory=True).data.dtype == each
    texts = ov.Tensor(np.array(["a"]))
    assert texts.str_data.size == texts.bytes_data.size == 1
    ov.Tensor(np.zeros(1, np.uint16), ov.Shape([1]), ov.Type.bf16)

"""The calibration of what our features cost: the same transport, the same model, and
nothing between them. No name is looked up, no request judged, no answer composed.

    python -m tests.bench.bare_loop MODEL

prints its port.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import numpy as np
import openvino as ov
from ovms_mp_protos import kserve

from ovms_mp.frontend.transport.choice import transport
from ovms_mp.frontend.transport.seam import Call, unary
from tests.bench.models import TINY


def main() -> None:
    """Serve until killed."""
    model = ov.Core().compile_model(Path(sys.argv[1]), "CPU", dict(TINY.properties))
    size = TINY.feed().nbytes
    response = kserve.ModelInferResponse(model_name=TINY.name, model_version="1")
    response.outputs.add(name=TINY.output, datatype="FP32", shape=TINY.shape)
    head = response.SerializeToString() + bytes((6 << 3 | 2, size))
    mine = threading.local()  # a transport may have several threads

    def infer(message: bytes, call: Call) -> bytes:
        if not hasattr(mine, "request"):
            mine.request = model.create_infer_request()
            mine.given = mine.request.input_tensors[0].data.reshape(-1)
            mine.made = mine.request.output_tensors[0].data
        mine.given[:] = np.frombuffer(message[-size:], np.float32)
        mine.request.infer()
        return head + mine.made.tobytes()

    server = transport("core")(
        {kserve.MODEL_INFER: unary(infer)}, ["127.0.0.1:0"], max_receive_bytes=1 << 20
    )
    server.start()
    print(server.ports[0], flush=True)
    signal.pause()


if __name__ == "__main__":
    main()

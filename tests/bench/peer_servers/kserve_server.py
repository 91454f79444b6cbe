"""KServe's Python server with one model; argument: a file of settings."""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import openvino as ov

kserve: Any = import_module("kserve")  # of the peer's environment


class Served(kserve.Model):
    """A model; inferences run in as many threads as OpenVINO has streams."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings["name"])
        self._output = settings["output"]
        self._datatype = settings["datatype"]
        model = ov.Core().compile_model(settings["path"], "CPU", settings["properties"])
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(settings["streams"]):
            self._requests.put(model.create_infer_request())
        several = settings["streams"] > 1
        self._pool = ThreadPoolExecutor(settings["streams"]) if several else None
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, **more: Any) -> Any:
        """What KServe calls for each request."""
        array = payload.inputs[0].as_numpy()
        if self._pool is None:
            made = self._infer(array)
        else:
            loop = asyncio.get_running_loop()
            made = await loop.run_in_executor(self._pool, self._infer, array)
        output = kserve.InferOutput(self._output, list(made.shape), self._datatype)
        output.set_data_from_numpy(made)
        return kserve.InferResponse(payload.id, self.name, [output])

    def _infer(self, array: Any) -> Any:
        request = self._requests.get()
        try:
            return request.infer([array], share_inputs=True)[0]
        finally:
            self._requests.put(request)


if __name__ == "__main__":
    wanted = json.loads(Path(sys.argv[1]).read_text())
    kserve.ModelServer(
        http_port=wanted["http_port"],
        grpc_port=wanted["grpc_port"],
        enable_grpc=True,
        workers=1,
    ).start([Served(wanted)])

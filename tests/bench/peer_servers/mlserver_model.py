"""A runtime of MLServer's; `settings.json` lies beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import openvino as ov

mlserver: Any = import_module("mlserver")  # of the peer's environment
codecs: Any = import_module("mlserver.codecs")
types: Any = import_module("mlserver.types")


class Served(mlserver.MLModel):
    """A model; inferences run in as many threads as OpenVINO has streams."""

    async def load(self) -> bool:
        """Compile the model."""
        settings = json.loads(Path(__file__).with_name("settings.json").read_text())
        self._output = settings["output"]
        model = ov.Core().compile_model(settings["path"], "CPU", settings["properties"])
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(settings["streams"]):
            self._requests.put(model.create_infer_request())
        several = settings["streams"] > 1
        self._pool = ThreadPoolExecutor(settings["streams"]) if several else None
        return True

    async def predict(self, payload: Any) -> Any:
        """What MLServer calls for each request."""
        array = codecs.NumpyCodec.decode_input(payload.inputs[0])
        if self._pool is None:
            made = self._infer(array)
        else:
            loop = asyncio.get_running_loop()
            made = await loop.run_in_executor(self._pool, self._infer, array)
        output = codecs.NumpyCodec.encode_output(self._output, made)
        return types.InferenceResponse(model_name=self.name, outputs=[output])

    async def predict_stream(self, payloads: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The same on a stream."""
        async for payload in payloads:
            yield await self.predict(payload)

    def _infer(self, array: Any) -> Any:
        request = self._requests.get()
        try:
            return request.infer([array], share_inputs=True)[0].copy()
        finally:
            self._requests.put(request)

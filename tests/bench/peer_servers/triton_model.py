"""A model of Triton's Python backend; becomes `model.py` in its model repository, with
`settings.json` beside it. OpenVINO is asked as Triton's users ask it.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

SETTINGS: Final = json.loads(Path(__file__).with_name("settings.json").read_text())

sys.path.insert(0, SETTINGS["packages"])  # the backend's Python starts without them
ov: Any = import_module("openvino")
utils: Any = import_module("triton_python_backend_utils")  # exists in the backend only


class TritonPythonModel:
    """One instance: one stream of OpenVINO's, one thread."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compile the model."""
        compiled = ov.Core().compile_model(
            SETTINGS["path"], "CPU", SETTINGS["properties"]
        )
        self._request = compiled.create_infer_request()
        self._input, self._output = SETTINGS["input"], SETTINGS["output"]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Infer one request after the other."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        array = utils.get_input_tensor_by_name(request, self._input).as_numpy()
        results = self._request.infer([array], share_inputs=True)
        output = utils.Tensor(self._output, results[0])
        return utils.InferenceResponse(output_tensors=[output])

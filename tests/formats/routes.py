"""Ways to a model: by its version directory or by a file; alone or in a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import tritonclient.grpc as triton
from ovms_mp_clients import Client
from tritonclient.utils import np_to_triton_dtype

from ovms_mp.core.tensor import Array
from tests.formats.cases import CASES, Case
from tests.wire import zoo

ANSWERS_WITHIN: Final = 30.0  # seconds


@dataclass(frozen=True)
class Route:
    """A model as it is served. Of a file, the version is 1."""

    case: Case
    is_file: bool = False

    @property
    def name(self) -> str:
        return f"{self.case.model}_file" if self.is_file else self.case.model

    @property
    def base_path(self) -> str:
        model = self.case.model
        return f"{model}/1/{self.case.file}" if self.is_file else model

    @property
    def graph(self) -> str:
        return f"{self.name}_graph"


def _first_of_each_format() -> list[Case]:
    found: dict[str, Case] = {}
    for case in CASES:
        found.setdefault(case.format, case)
    return list(found.values())


ROUTES: Final = (
    *(Route(case) for case in CASES),
    *(Route(case, is_file=True) for case in _first_of_each_format()),
)


def graph_of(route: Route) -> str:
    """A pbtxt: the model with its outputs by what they are."""
    outputs = route.case.outputs
    return zoo.graph(
        ["OVTENSOR:in"],
        [f"OVTENSOR_{role.upper()}:{role}" for role in outputs],
        zoo.session(route.name),
        zoo.inferring(
            {route.case.input: "in"}, {name: role for role, name in outputs.items()}
        ),
    )


def infer(
    client: triton.InferenceServerClient,
    name: str,
    port: str,
    array: Array,
    version: str = "",
) -> dict[str, Array]:
    """One request to a model of one input; all outputs."""
    tensor = triton.InferInput(port, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    result: Any = client.infer(
        name, [tensor], model_version=version, client_timeout=ANSWERS_WITHIN
    )
    return {
        output.name: result.as_numpy(output.name)
        for output in result.get_response().outputs
    }


def stream(
    client: Client, name: str, arrays: Sequence[Array], source: str = "in"
) -> list[dict[str, Array]]:
    """A stream of these packets to a graph's input; all outputs, packet by packet."""
    outputs: list[dict[str, Any]] = [{} for _ in arrays]
    with client.stream(name, window=len(arrays)) as opened:
        for timestamp, array in enumerate(arrays):
            opened.send({source: array}, timestamp=timestamp)
        opened.half_close()
        for result in opened:
            assert result.timestamp is not None
            outputs[result.timestamp] |= {**result.outputs}
    return outputs

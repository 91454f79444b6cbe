"""tritonclient's HTTP client, as people use it, against a whole server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.wire.servers import HOST, Server

TEN = np.arange(10, dtype=np.float32).reshape(1, 10)


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"{HOST}:{server.app.rest_port}") as client:
        yield client


def given(
    name: str, array: np.ndarray, datatype: str = "FP32", *, binary: bool = True
) -> triton.InferInput:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def test_control_methods_answer(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("add_one", "1")
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata()["name"] == "OpenVINO Model Server"
    metadata: Any = client.get_model_metadata("fan")
    assert [each["name"] for each in metadata["outputs"]] == ["same", "more"]


@pytest.mark.parametrize("name", ["add_one", "add"])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_a_model_and_a_graph_answer_in_every_form(
    client: triton.InferenceServerClient,
    name: str,
    binary_in: bool,
    binary_out: bool | None,
    coding: str | None,
) -> None:
    port, output = ("x", "y") if name == "add_one" else ("in", "out")
    outputs = None
    if binary_out is not None:
        outputs = [triton.InferRequestedOutput(output, binary_data=binary_out)]
    result = client.infer(
        name,
        [given(port, TEN, binary=binary_in)],
        outputs=outputs,
        request_id="a request",
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    np.testing.assert_array_equal(result.as_numpy(output), TEN + 1)
    assert result.get_response()["id"] == "a request"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    "array",
    [
        np.array([True, False]),
        np.array([2**64 - 1], np.uint64),
        np.array([-(2**63)], np.int64),
        np.array([0.1, 1e300]),
        np.array([0.1, 3e38], np.float32),
        np.array([-128, 127], np.int8),
        np.array([0, 65535], np.uint16),
    ],
    ids=lambda array: array.dtype.name,
)
def test_every_datatype_comes_back_as_it_was(
    client: triton.InferenceServerClient, array: np.ndarray, binary: bool
) -> None:
    kinds = {"b": "BOOL", "u": "UINT", "i": "INT", "f": "FP"}
    bits = array.dtype.itemsize * 8
    datatype = kinds[array.dtype.kind] + ("" if array.dtype.kind == "b" else str(bits))
    outputs = [triton.InferRequestedOutput("out", binary_data=binary)]
    asked = [given("in", array, datatype, binary=binary)]
    result: Any = client.infer("echo", asked, outputs=outputs)
    np.testing.assert_array_equal(result.as_numpy("out"), array)
    assert result.as_numpy("out").dtype == array.dtype


def test_no_number_comes_back_as_none(client: triton.InferenceServerClient) -> None:
    array = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    for binary in (True, False):
        outputs = [triton.InferRequestedOutput("out", binary_data=binary)]
        result = client.infer("echo", [given("in", array)], outputs=outputs)
        np.testing.assert_array_equal(result.as_numpy("out"), array)


@pytest.mark.parametrize("binary", [True, False])
def test_texts_come_back_as_they_were(
    client: triton.InferenceServerClient, binary: bool
) -> None:
    texts = np.array(["zwölf".encode(), b""], np.object_)
    outputs = [triton.InferRequestedOutput("in", binary_data=binary)]
    asked = [given("in", texts, "BYTES", binary=binary)]
    result: Any = client.infer("py", asked, outputs=outputs)
    found = [
        each if isinstance(each, bytes) else each.encode()
        for each in result.as_numpy("in")
    ]
    assert found == texts.tolist()


def test_parameters_reach_a_graph(client: triton.InferenceServerClient) -> None:
    asked = [given("in", TEN)]
    result = client.infer("echo", asked, parameters={"OVMS_MP_TIMESTAMP": 2**62})
    assert result.get_response()["parameters"] == {"OVMS_MP_TIMESTAMP": 2**62}


def test_a_sequence_is_one_over_http_too(client: triton.InferenceServerClient) -> None:
    totals: list[float] = []
    for number, value in enumerate((1, 2, 3)):
        result: Any = client.infer(
            "total",
            [given("x", np.full((1, 4), value, np.float32))],
            sequence_id=77,
            sequence_start=number == 0,
            sequence_end=number == 2,
        )
        totals.append(float(result.as_numpy("y").ravel()[0]))
    assert totals == [1, 3, 6]


def test_a_refusal_is_an_exception_with_its_text(
    client: triton.InferenceServerClient,
) -> None:
    with pytest.raises(
        InferenceServerException, match=r"Invalid input shape - .*\(1,9\)"
    ):
        client.infer("add_one", [given("x", TEN[:, :9])])
    with pytest.raises(InferenceServerException, match="is not found"):
        client.infer("nobody", [given("x", TEN)])


def test_many_at_once_get_each_their_own_answer(server: Server) -> None:
    address = f"{HOST}:{server.app.rest_port}"
    with triton.InferenceServerClient(address, concurrency=8) as client:
        asked = [
            client.async_infer("add", [given("in", np.full((1, 10), n, np.float32))])
            for n in range(100)
        ]
        for number, each in enumerate(asked):
            result: Any = each.get_result()
            assert result.as_numpy("out")[0, 0] == number + 1

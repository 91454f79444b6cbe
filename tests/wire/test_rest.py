"""REST answers what gRPC answers, in HTTP's terms."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import cv2
import numpy as np
import pytest

from ovms_mp import __version__
from tests.wire import zoo
from tests.wire.rest import HEADER, Rest, inputs, tensor
from tests.wire.servers import Server

TEN = np.arange(10, dtype=np.float32).reshape(1, 10)
AVAILABLE = {
    "version": "1",
    "state": "AVAILABLE",
    "status": {"error_code": "OK", "error_message": "OK"},
}


@pytest.fixture
def rest(server: Server) -> Rest:
    return Rest(server.app.rest_port)


def test_the_server_says_what_it_is(rest: Rest) -> None:
    assert rest.get("/v2").json == {
        "name": "OpenVINO Model Server",
        "version": __version__,
        "extensions": ["binary_tensor_data"],
    }
    for path in ("/v2/health/live", "/v2/health/ready"):
        answer = rest.get(path)
        assert (answer.code, answer.body) == (200, b"")


@pytest.mark.parametrize("path", ["add_one", "add_one/versions/1", "add", "%61dd"])
def test_what_is_served_is_ready(rest: Rest, path: str) -> None:
    answer = rest.get(f"/v2/models/{path}/ready")
    assert (answer.code, answer.body) == (200, b"")


def test_metadata_are_those_of_grpc(rest: Rest) -> None:
    assert rest.get("/v2/models/pair").json == {
        "name": "pair",
        "versions": ["1"],
        "platform": "OpenVINO",
        "inputs": [
            {"name": "a", "datatype": "INT64", "shape": [1, 2]},
            {"name": "b", "datatype": "FP32", "shape": [1, 3]},
        ],
        "outputs": [
            {"name": "double", "datatype": "INT64", "shape": [1, 2]},
            {"name": "sum", "datatype": "FP32", "shape": [1]},
        ],
    }
    (port,) = rest.get("/v2/models/ranged/versions/1").json["inputs"]
    assert port["shape"] == [-1, -1]
    echo = rest.get("/v2/models/echo").json
    assert echo["inputs"] == [{"name": "in", "datatype": "INVALID", "shape": []}]


def test_a_model_and_a_graph_are_asked_alike(rest: Rest) -> None:
    for name, port, output in (("add_one", "x", "y"), ("add", "in", "out")):
        answer = rest.infer(name, inputs(tensor(port, TEN), id="7"))
        assert answer.output(output) == (TEN + 1).ravel().tolist()
        assert answer.json["model_name"] == name
        assert answer.json["model_version"] == "1"
        assert answer.json["id"] == "7"
    assert "parameters" not in rest.infer("add_one", inputs(tensor("x", TEN))).json


def test_timestamps_of_graphs_have_all_their_digits(rest: Rest) -> None:
    parameters = {"OVMS_MP_TIMESTAMP": 1_234_567_890_123_456_789}
    asked = inputs(tensor("in", TEN), parameters=parameters)
    assert rest.infer("echo", asked).json["parameters"] == parameters


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BOOL", [True, False]),
        ("UINT8", [0, 255]),
        ("UINT16", [0, 65535]),
        ("UINT32", [0, 2**32 - 1]),
        ("UINT64", [0, 2**64 - 1]),
        ("INT8", [-128, 127]),
        ("INT16", [-(2**15), 2**15 - 1]),
        ("INT32", [-(2**31), 2**31 - 1]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("FP16", [0.5, "-Infinity"]),
        ("FP32", [0.1, "NaN"]),
        ("FP64", [0.1, 1e300]),
    ],
)
def test_every_datatype_goes_through_a_graph_as_it_is(
    rest: Rest, datatype: str, data: list[Any]
) -> None:
    given = {"name": "in", "shape": [2], "datatype": datatype, "data": data}
    assert rest.infer("echo", inputs(given)).output("out") == data


def test_bytes_reach_a_python_node_as_over_grpc(rest: Rest) -> None:
    given = {"name": "in", "shape": [2], "datatype": "BYTES"}
    data = ["zwölf", {"b64": "/9g="}]
    answer = rest.infer("py", inputs({**given, "data": data}))
    assert answer.output("in") == data


@pytest.mark.parametrize("sent", [b"\x02\0\0\0ab", b"abc"])
def test_bytes_without_a_size_reach_a_python_node_as_they_were_sent(
    rest: Rest, sent: bytes
) -> None:
    given = {"name": "in", "shape": [1], "datatype": "BYTES"}
    asked = inputs(given, parameters={"binary_data_output": True})
    answer = rest.infer("py", asked, sent)
    assert answer.code == 200, answer.body
    assert answer.body[int(answer.headers[HEADER.lower()]) :] == sent


def test_a_jpeg_reaches_a_graph_of_images(rest: Rest) -> None:
    picture = np.full((8, 12, 3), 200, np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    given = {"name": "in", "shape": [1], "datatype": "BYTES"}
    sized = {**given, "parameters": {"binary_data_size": len(jpeg) + 4}}
    prefixed = len(jpeg).to_bytes(4, "little") + jpeg
    for answer in (
        rest.infer("image", inputs(given), jpeg),
        rest.infer("image", inputs(sized), prefixed),
        rest.infer("image", inputs(given), prefixed),
    ):
        assert answer.json["outputs"][0]["shape"] == [8, 12, 3]


def test_contents_in_binary_come_back_in_binary_if_that_is_asked_for(
    rest: Rest,
) -> None:
    given = {"name": "x", "shape": [1, 10], "datatype": "FP32"}
    wishes: list[tuple[dict[str, Any], bool]] = [
        ({}, False),
        ({"parameters": {"binary_data_output": True}}, True),
        ({"outputs": [{"name": "y"}]}, False),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": True}}]}, True),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
            },
            False,
        ),
    ]
    for wish, is_binary in wishes:
        answer = rest.infer("add_one", inputs(given, **wish), TEN.tobytes())
        if not is_binary:
            assert answer.output("y") == (TEN + 1).ravel().tolist()
            assert HEADER.lower() not in answer.headers
            continue
        assert answer.headers["content-type"] == "application/octet-stream"
        length = int(answer.headers[HEADER.lower()])
        (output,) = json.loads(answer.body[:length])["outputs"]
        assert output["parameters"] == {"binary_data_size": 40}
        assert answer.body[length:] == (TEN + 1).tobytes()


def test_only_the_outputs_that_are_asked_for_come_in_that_order(rest: Rest) -> None:
    two, three = np.array([[1, 2]]), np.array([[1, 2, 3]], np.float32)
    given = [tensor("a", two, "INT64"), tensor("b", three)]
    for names in (["sum"], ["double"], ["sum", "double"], ["double", "sum"]):
        asked = inputs(*given, outputs=[{"name": name} for name in names])
        told = rest.infer("pair", asked).json["outputs"]
        assert [each["name"] for each in told] == names
    answer = rest.infer("pair", inputs(*given, outputs=[{"name": "nobody"}]))
    assert answer.code == 400
    assert answer.error == (
        "Missing output with specific name - Requested output: nobody"
    )


@pytest.mark.parametrize("graph", ["py", "whole"])
@pytest.mark.parametrize("names", [["out"], ["in"], ["out", "in"]], ids="-".join)
def test_an_output_with_a_name_of_its_own_is_found_by_its_streams_too(
    graph: str, names: list[str], rest: Rest
) -> None:
    """Metadata have the stream's; the tensor is called as it came in."""
    wanted = [{"name": each, "parameters": {"binary_data": True}} for each in names]
    answer = rest.infer(graph, inputs(tensor("in", TEN), outputs=wanted))
    length = int(answer.headers[HEADER.lower()])
    (output,) = json.loads(answer.body[:length])["outputs"]
    assert output["name"] == "in"
    assert answer.body[length:] == TEN.tobytes()
    asked = inputs(tensor("in", TEN), outputs=[{"name": "nobody"}])
    assert rest.infer(graph, asked).code == 400


def test_who_asks_for_nobodys_output_changes_no_state(rest: Rest) -> None:
    one = tensor("x", np.ones((1, 4), np.float32))
    begun = {"sequence_id": 81, "sequence_start": True}
    assert rest.infer("total", inputs(one, parameters=begun)).output("y") == [1.0] * 4
    last = {"sequence_id": 81, "sequence_end": True}
    wrong = inputs(one, parameters=last, outputs=[{"name": "nobody"}])
    assert rest.infer("total", wrong).code == 400
    assert rest.infer("total", inputs(one, parameters=last)).output("y") == [2.0] * 4


def test_a_large_tensor_goes_there_and_back(rest: Rest) -> None:
    large = np.random.default_rng(0).standard_normal((1000, 1000), np.float32)
    given = {"name": "in", "shape": list(large.shape), "datatype": "FP32"}
    asked = inputs(given, parameters={"binary_data_output": True})
    answer = rest.infer("echo", asked, large.tobytes())
    length = int(answer.headers[HEADER.lower()])
    assert answer.body[length:] == large.tobytes()
    answer = rest.infer("echo", inputs(tensor("in", large[:300])))
    np.testing.assert_array_equal(
        np.array(answer.output("out"), np.float32), large[:300].ravel()
    )


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bodies_may_be_compressed_both_ways(rest: Rest, coding: str) -> None:
    many = np.zeros(5000, np.float32)
    text = json.dumps(inputs(tensor("in", many))).encode()
    squeeze = gzip.compress if coding == "gzip" else zlib.compress
    headers = {"content-encoding": coding, "accept-encoding": coding}
    path = "/v2/models/echo/infer"
    answer = rest.ask("POST", path, squeeze(text), headers)
    assert answer.headers["content-encoding"] == coding
    assert "accept-encoding" in answer.headers["vary"]
    body = zlib.decompress(answer.body, 47)
    assert len(answer.body) < len(body)
    assert json.loads(body)["outputs"][0]["data"] == many.tolist()


@pytest.mark.parametrize(
    ("accepted", "is_binary", "coding"),
    [
        ("gzip, deflate, br", False, "gzip"),
        ("gzip, deflate, br", True, None),
        ("gzip", True, "gzip"),
        ("deflate", True, "deflate"),
        ("deflate, gzip;q=0", False, "deflate"),
        ("br", False, None),
        ("gzip;q=0.0", False, None),
        ("", False, None),
    ],
)
def test_tensors_are_compressed_for_who_means_it(
    rest: Rest, accepted: str, is_binary: bool, coding: str | None
) -> None:
    many = tensor("in", np.zeros(5000, np.float32))
    asked = inputs(many, parameters={"binary_data_output": is_binary})
    answer = rest.infer("echo", asked, headers={"accept-encoding": accepted})
    assert answer.code == 200
    assert answer.headers.get("content-encoding") == coding


@pytest.mark.parametrize(
    ("name", "document", "code", "text"),
    [
        (
            "nobody",
            inputs(tensor("x", TEN)),
            404,
            "Mediapipe graph definition with requested name is not found",
        ),
        (
            "add_one/versions/7",
            inputs(tensor("x", TEN)),
            404,
            "Model with requested version is not found",
        ),
        (
            "add_one/versions/99999999999999999999",
            inputs(tensor("x", TEN)),
            404,
            "Model with requested version is not found",
        ),
        (
            "add_one",
            inputs(tensor("x", TEN), tensor("z", TEN)),
            400,
            "Invalid number of inputs - Expected: 1; Actual: 2",
        ),
        (
            "add_one",
            inputs(tensor("z", TEN)),
            400,
            "Missing input with specific name - Required input: x",
        ),
        (
            "add_one",
            inputs(tensor("x", TEN, "FP64")),
            400,
            "Invalid input precision - Expected: FP32; Actual: FP64; input name: x",
        ),
        (
            "add_one",
            inputs(tensor("x", TEN[:, :9])),
            400,
            "Invalid input shape - Expected: (1,10); Actual: (1,9); input name: x",
        ),
        (
            "add_one",
            inputs({**tensor("x", TEN), "data": [1, 2]}),
            400,
            "Invalid number of values in tensor proto container - Expected: 10 values;"
            " Actual: 2 values; input name: x",
        ),
        (
            "echo",
            inputs(tensor("other", TEN)),
            400,
            "Unexpected input - other is unexpected",
        ),
        (
            "echo",
            inputs(tensor("in", TEN), parameters={"py": "x"}),
            412,
            "Failed to initialize mediapipe graph - Incoming input side packet: py is"
            " special reserved name and cannot be used",
        ),
    ],
)
def test_refusals_have_ovmss_texts(
    rest: Rest, name: str, document: Any, code: int, text: str
) -> None:
    answer = rest.infer(name, document)
    assert (answer.code, answer.error) == (code, text)


def test_what_a_node_raises_is_told(rest: Rest) -> None:
    word = {"name": "word", "shape": [5], "datatype": "UINT8", "data": [*b"raise"]}
    answer = rest.infer("words", inputs(word))
    assert answer.code == 400
    assert answer.error.startswith("Mediapipe execution failed. MP status - ")
    assert "ValueError: this word is not nice" in answer.error


@pytest.mark.parametrize("word", ["shout", "wicked", "odd", "huge"])
def test_an_error_is_one_line_of_json_whatever_a_node_says(
    rest: Rest, word: str
) -> None:
    given = {"name": "word", "shape": [len(word)], "datatype": "UINT8"}
    answer = rest.infer("words", inputs({**given, "data": [*word.encode()]}))
    assert answer.code in {400, 500}
    assert "\n" not in answer.error
    assert "Traceback" not in answer.error
    assert len(answer.error) < 5000


def test_connections_are_kept_over_refusals(rest: Rest) -> None:
    connection = rest.connect()
    good = json.dumps(inputs(tensor("x", TEN))).encode()
    for body, code in ((good, 200), (b"{", 400), (good, 200), (b"{}", 400)) * 3:
        connection.request("POST", "/v2/models/add_one/infer", body)
        response = connection.getresponse()
        assert response.status == code
        response.read()
        assert connection.sock is not None
    connection.close()


def test_states_are_ovmss(rest: Rest) -> None:
    config = rest.get("/v1/config").json
    assert config.keys() == {*zoo.models(), *zoo.GRAPHS}
    for name in ("add_one", "echo"):
        assert config[name] == {"model_version_status": [AVAILABLE]}
        assert rest.get(f"/v1/models/{name}").json == config[name]
        assert rest.get(f"/v1/models/{name}/versions/1").json == config[name]
    assert rest.get("/v1/models/nobody").code == 404
    answer = rest.get("/v1/models/echo/versions/2")
    assert (answer.code, answer.error) == (
        404,
        "Model with requested version is not found",
    )


def test_a_reload_with_nothing_to_do_tells_the_states(rest: Rest) -> None:
    answer = rest.ask("POST", "/v1/config/reload")
    assert answer.code == 200
    assert answer.json == rest.get("/v1/config").json


def test_browsers_are_told_the_same_with_every_answer(rest: Rest) -> None:
    for answer in (
        rest.get("/v2"),
        rest.get("/nowhere"),
        rest.ask("DELETE", "/v2"),
        rest.ask("OPTIONS", "/v2/models/add_one/infer"),
        rest.infer("add_one", {}),
    ):
        for what in ("origin", "methods", "headers"):
            assert answer.headers[f"access-control-allow-{what}"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
    assert rest.ask("OPTIONS", "/v2/models/add_one/infer").code == 200

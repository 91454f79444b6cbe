"""Whatever a vision graph finds comes to a client of gRPC: as FP32, laid out as the
documentation says, as MediaPipe's serialized messages, and as JSON, which say the same.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from google.protobuf import json_format
from ovms_mp_protos import graph as protos

from graphs import repository
from tests.vision import bodies
from tests.wire.servers import Server, serving

pytestmark = pytest.mark.timeout(600)

# Stream, its tag at the hands' subgraph, and whose vector or item it is.
VECTORS = {
    "palms": ("PALM_DETECTIONS", "Detection"),
    "rects": ("HAND_ROIS_FROM_LANDMARKS", "NormalizedRect"),
    "hands": ("LANDMARKS", "NormalizedLandmarkList"),
    "in_metres": ("WORLD_LANDMARKS", "LandmarkList"),
    "handedness": ("HANDEDNESS", "ClassificationList"),
}
KINDS = {
    name: kind
    for vector, (_, kind) in VECTORS.items()
    for name in (vector, f"one_of_{vector}")
}
NONE = "no_palms"  # a vector, and nothing in it
NUMBERS = ("size", "padding", "matrix")
TEXTS = {"as_json": "ToJsonCalculator", "as_proto": "ToProtoCalculator"}
NODE = """
node {{ calculator: "{name}" input_stream: "{given}" output_stream: "{made}" {more} }}
"""
FIRST = """options {
  [mediapipe.GetVectorItemCalculatorOptions.ext] { item_index: 0 output_empty_on_oob: true } }
"""


def pbtxt() -> str:
    """A graph with an output for each of KINDS in three forms, and of NUMBERS in one."""
    values = [*KINDS, NONE]
    outputs = [*values, *NUMBERS, *(f"{e}_{form}" for e in values for form in TEXTS)]
    text = 'input_stream: "IMAGE:frame" input_side_packet: "count"\n'
    for number, name in enumerate(outputs):
        text += f'output_stream: "OVTENSOR:{number}:{name}"\n'
    ends = "".join(f' output_stream: "{tag}:{e}"' for e, (tag, _) in VECTORS.items())
    text += f"""
      node {{ calculator: "HandLandmarkTrackingCpu" input_stream: "IMAGE:frame"
             input_side_packet: "NUM_HANDS:count" {ends} }}
      node {{ calculator: "ImagePropertiesCalculator" input_stream: "IMAGE:frame"
             output_stream: "SIZE:size" }}
      node {{ calculator: "ImageToTensorCalculator" input_stream: "IMAGE:frame"
             output_stream: "TENSORS:tensors" output_stream: "MATRIX:matrix"
             output_stream: "LETTERBOX_PADDING:padding" options {{
        [mediapipe.ImageToTensorCalculatorOptions.ext] {{
          output_tensor_width: 64 output_tensor_height: 64 keep_aspect_ratio: true
          output_tensor_float_range {{ min: 0 max: 1 }} }} }} }}
    """
    for name, (_, kind) in VECTORS.items():
        getter = f"Get{kind}VectorItemCalculator"
        text += NODE.format(
            name=getter, given=f"VECTOR:{name}", made=f"ITEM:one_of_{name}", more=FIRST
        )
    text += NODE.format(
        name="FilterDetectionsCalculator",
        given="INPUT_DETECTIONS:palms",
        made=f"OUTPUT_DETECTIONS:{NONE}",
        more="""options {
          [mediapipe.FilterDetectionsCalculatorOptions.ext] { min_score: 2 } }""",
    )
    for name in values:
        for form, calculator in TEXTS.items():
            text += NODE.format(
                name=calculator, given=name, made=f"{name}_{form}", more=""
            )
    return text


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("repository")
    home = folder / "found"
    home.mkdir()
    (home / "graph.pbtxt").write_text(pbtxt())
    models = ("palm_detection_full", "hand_landmark_full")
    for name in models:
        repository.add_model(home, name)
    entries = [{"config": {"name": name, "base_path": name}} for name in models]
    (home / "subconfig.json").write_text(json.dumps({"model_config_list": entries}))
    config = {"model_config_list": [], "mediapipe_config_list": [{"name": "found"}]}
    (folder / "config.json").write_text(json.dumps(config))
    with serving(folder / "config.json") as server:
        yield server


def given(frame: Any) -> list[triton.InferInput]:
    tensor = triton.InferInput("frame", list(frame.shape), "UINT8")
    return [tensor.set_data_from_numpy(frame)]


def streamed(server: Server, frame: Any) -> dict[str, Any]:
    """What a stream answers for one frame: arrays by output."""
    said: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with triton.InferenceServerClient(server.address) as client:
        client.start_stream(lambda result, error: said.put(error or result))
        client.async_stream_infer("found", given(frame), parameters={"count": 2})
        client.stop_stream()  # when all has been said
    found: dict[str, Any] = {}
    while not said.empty():
        result = said.get()
        assert not isinstance(result, Exception), result
        for each in result.get_response().outputs:
            found[each.name] = result.as_numpy(each.name)
    return found


def asked(server: Server, frame: Any) -> dict[str, Any]:
    """The same by one request."""
    with triton.InferenceServerClient(server.address) as client:
        result: Any = client.infer("found", given(frame), parameters={"count": 2})
    outputs = result.get_response().outputs
    return {each.name: result.as_numpy(each.name) for each in outputs}


@pytest.fixture(scope="module")
def hand() -> Any:
    return bodies.video("cup.mp4.gz", 40, 1)[0]


@pytest.fixture(scope="module", params=["stream", "request"])
def answer(request: pytest.FixtureRequest, server: Server, hand: Any) -> dict[str, Any]:
    """Of a frame with one hand."""
    if request.param == "request":
        return asked(server, hand)
    return streamed(server, hand)


def row_of(message: Any) -> Any:
    """What the documentation says is the tensor of a message."""
    match message.DESCRIPTOR.name:
        case "Detection":
            box = message.location_data.relative_bounding_box
            points = message.location_data.relative_keypoints
            return [
                *(box.xmin, box.ymin, box.width, box.height),
                *(message.score[0], message.label_id[0]),
                *(each for point in points for each in (point.x, point.y)),
            ]
        case "NormalizedRect":
            rect = message
            return [
                rect.x_center,
                rect.y_center,
                rect.width,
                rect.height,
                rect.rotation,
            ]
        case "ClassificationList":
            return [(each.index, each.score) for each in message.classification]
        case _:
            return [
                (each.x, each.y, each.z, each.visibility, each.presence)
                for each in message.landmark
            ]


SHAPES = {
    "Detection": (20,),
    "NormalizedRect": (5,),
    "NormalizedLandmarkList": (21, 5),
    "LandmarkList": (21, 5),
    "ClassificationList": (1, 2),
}


@pytest.mark.parametrize("name", KINDS)
def test_numbers_messages_and_json_say_the_same(answer: dict[str, Any], name: str):
    kind = KINDS[name]
    numbers = answer[name]
    is_vector = name in VECTORS
    assert numbers.dtype == np.float32
    assert numbers.shape == ((1, *SHAPES[kind]) if is_vector else SHAPES[kind])
    assert np.abs(numbers).max() > 0.01
    message_class = protos.message_class(f"mediapipe.{kind}")
    (serialized,) = answer[f"{name}_as_proto"]
    message = message_class.FromString(serialized)
    row = np.array(row_of(message), np.float32)
    np.testing.assert_array_equal(numbers[0] if is_vector else numbers, row)
    (text,) = answer[f"{name}_as_json"]
    value = json.loads(text)
    (fields,) = value if is_vector else [value]
    again = json_format.ParseDict(fields, message_class())
    np.testing.assert_allclose(np.array(row_of(again), np.float32), row, rtol=1e-6)


def test_sizes_paddings_and_matrices_are_numbers(answer: dict[str, Any]):
    assert {answer[name].dtype for name in NUMBERS} == {np.dtype(np.float32)}
    assert answer["size"].tolist() == [640, 480]
    np.testing.assert_allclose(answer["padding"], [0, 0.125, 0, 0.125], atol=1e-6)
    # From the tensor to the image: as wide, and a third higher.
    matrix = answer["matrix"]
    assert matrix.shape == (4, 4)
    np.testing.assert_allclose(matrix[:2, [0, 1, 3]], [[1, 0, 0], [0, 4 / 3, -1 / 6]])


def test_a_vector_of_none_is_empty_in_each_form(answer: dict[str, Any]):
    assert answer[NONE].shape == (0, 0)
    assert answer[f"{NONE}_as_json"].tolist() == [b"[]"]
    assert answer[f"{NONE}_as_proto"].shape == (0,)


def test_what_is_not_found_is_not_sent(server: Server):
    frame = np.full((48, 64, 3), 90, np.uint8)
    assert set(streamed(server, frame)) == set(NUMBERS)


def test_what_is_known_of_outputs_is_told(server: Server):
    with triton.InferenceServerClient(server.address) as client:
        told: Any = client.get_model_metadata("found")
    datatypes = {each.name: each.datatype for each in told.outputs}
    for name in KINDS:
        assert datatypes[f"{name}_as_json"] == "BYTES"
        assert datatypes[f"{name}_as_proto"] == "BYTES"

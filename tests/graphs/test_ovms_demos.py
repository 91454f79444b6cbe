"""OVMS's demos of MediaPipe graphs: their nodes, streams and names of models, as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from graphs import assets, repository
from ovms_mp.core.errors import ServingError
from ovms_mp.core.messages import InferRequest, InputTensor
from ovms_mp.servable.catalog import Catalog
from tests.bench import efficientnet
from tests.graphs.in_process import clip, rgb, serving
from tests.vision.streamed import streamed

pytestmark = pytest.mark.timeout(300)

MODEL: Any = ov.Model  # its stub binds no constructor
DETECTOR = "ssdlite_object_detection"


def photo(name: str) -> Any:
    picture = cv2.imread(str(assets.fetch(name)))
    assert picture is not None
    return rgb(picture)


@contextmanager
def added(folder: Path, graph: str) -> Iterator[Catalog]:
    repository.add_graph(folder, graph)
    with serving(folder) as catalog:
        yield catalog


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    with added(tmp_path_factory.mktemp("objects"), "object_detection") as catalog:
        yield catalog


def test_people_in_a_street_have_boxes_with_their_name(objects: Catalog):
    frames = clip(assets.fetch("vtest.avi"), 0, 8)
    found = streamed(objects, "object_detection", frames, "input")
    for frame, answer in zip(frames, found, strict=True):
        annotated = answer["output"]
        assert annotated.shape == (320, 320, 3)
        small = cv2.resize(frame, (320, 320), interpolation=cv2.INTER_AREA)
        is_red = (annotated == [255, 0, 0]).all(axis=2)
        assert 300 < is_red.sum() < 9000
        # What is not drawn on is the frame.
        assert np.abs(annotated[~is_red].astype(int) - small[~is_red]).mean() < 2


def test_a_frame_without_an_object_comes_back_as_it_was(objects: Catalog):
    frame = np.full((240, 320, 3), 90, np.uint8)
    (found,) = streamed(objects, "object_detection", [frame], "input")
    np.testing.assert_array_equal(found["output"], np.full((320, 320, 3), 90))


@pytest.mark.parametrize("channels", [1, 4])
def test_a_frame_of_other_channels_is_told(objects: Catalog, channels: int):
    """Alpha is left out; of a gray frame the model has no use."""
    frame = np.full((40, 30, channels), 90, np.uint8)
    if channels == 4:
        (found,) = streamed(objects, "object_detection", [frame], "input")
        assert found["output"].shape == (320, 320, 4)
        return
    with pytest.raises(ServingError, match=r"\(1,320,320,3\); Actual: \(1,320,320,1\)"):
        streamed(objects, "object_detection", [frame], "input")


@pytest.fixture(scope="module")
def irises(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    with added(tmp_path_factory.mktemp("irises"), "iris_tracking") as catalog:
        yield catalog


def test_a_face_is_drawn_with_its_irises(irises: Catalog):
    frame = photo("astronaut.png")
    found = streamed(irises, "iris_tracking", [frame] * 3, "first_input_video")
    first, *others = (each["output"] for each in found)
    # Rings in the colour of the irises around both pupils, and nowhere else.
    is_blue = (first == [0, 0, 255]).all(axis=2)
    rows, columns = np.nonzero(is_blue)
    assert 60 < is_blue.sum() < 2000
    assert (rows > 90).all() and (rows < 115).all()
    assert (columns > 195).all() and (columns < 265).all()
    assert np.mean(first != frame) < 0.2
    # A face that is tracked is drawn where it was, without the box of a detection.
    is_box = (first == [0, 255, 0]).all(axis=2).sum()
    for each in others:
        assert (each == [0, 255, 0]).all(axis=2).sum() < is_box
        rows, columns = np.nonzero((each == [0, 0, 255]).all(axis=2))
        assert len(rows) > 60
        assert (rows > 90).all() and (rows < 115).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (30, 40, 3), (2, 500, 3)])
def test_a_frame_without_a_face_comes_back_as_it_was(
    irises: Catalog, shape: tuple[int, ...]
):
    frame = np.full(shape, 70, np.uint8)
    (found,) = streamed(irises, "iris_tracking", [frame], "first_input_video")
    np.testing.assert_array_equal(found["output"], frame)


# As the demos' own configs have them: what they call a graph, its file, and the folders
# of the models, here with what is put there.
CONFIGS = {
    "iris_tracking": (
        "irisTracking",
        "iris_tracking.pbtxt",
        {
            "face_landmark": ("face_landmark", "face_landmark"),
            "face_detection": (
                "face_detection_short_range",
                "mediapipe_face_detection",
            ),
            "iris_landmark": ("iris_landmark", "iris_landmark"),
        },
    ),
    "object_detection": (
        "objectDetection",
        "graph.pbtxt",
        {"ssdlite_object_detection": (DETECTOR, DETECTOR)},
    ),
}


@pytest.mark.parametrize(
    ("demo", "stream", "colour"),
    [
        ("iris_tracking", "first_input_video", [0, 255, 0]),
        ("object_detection", "input", [255, 0, 0]),
    ],
)
def test_a_demo_s_config_has_its_models_beside_the_graph(
    demo: str, stream: str, colour: list[int], tmp_path: Path
):
    """In the list of the server's, and its folder is that of the config."""
    name, file, places = CONFIGS[demo]
    source = Path(repository.__file__).parent / demo
    shutil.copyfile(source / "graph.pbtxt", tmp_path / file)
    for labels in source.glob("*.txt"):
        shutil.copyfile(labels, tmp_path / labels.name)
    models: list[Any] = []
    for model, (folder, put_there) in places.items():
        repository.add_model(tmp_path / "fetched", put_there)
        (tmp_path / "fetched" / put_there).rename(tmp_path / folder)
        models.append({"config": {"name": model, "base_path": folder}})
    graph = {"name": name, "base_path": "./", "graph_path": file}
    config = {"model_config_list": models, "mediapipe_config_list": [graph]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    frame = photo("astronaut.png")
    with serving(tmp_path) as catalog:
        (found,) = streamed(catalog, name, [frame], stream)
    assert (found["output"] == colour).all(axis=2).sum() > 100


CLASSIFICATION = """
input_stream: "in"
output_stream: "out"
node {
  calculator: "OpenVINOModelServerSessionCalculator"
  output_side_packet: "SESSION:session"
  node_options: {
    [type.googleapis.com / mediapipe.OpenVINOModelServerSessionCalculatorOptions]: {
      servable_name: "resnet"
      servable_version: "1"
    }
  }
}
node {
  calculator: "OpenVINOInferenceCalculator"
  input_side_packet: "SESSION:session"
  input_stream: "B:in"
  output_stream: "A:out"
  node_options: {
    [type.googleapis.com / mediapipe.OpenVINOInferenceCalculatorOptions]: {
      tag_to_input_tensor_names { key: "B" value: "0" }
      tag_to_output_tensor_names { key: "A" value: "1463" }
    }
  }
}
"""
SUMS = """
input_stream: "in1"
input_stream: "in2"
output_stream: "out"
node {
  calculator: "OpenVINOModelServerSessionCalculator"
  output_side_packet: "SESSION:dummy"
  node_options: {
    [type.googleapis.com / mediapipe.OpenVINOModelServerSessionCalculatorOptions]: {
      servable_name: "dummy"
      servable_version: "1"
    }
  }
}
node {
  calculator: "OpenVINOModelServerSessionCalculator"
  output_side_packet: "SESSION:add"
  node_options: {
    [type.googleapis.com / mediapipe.OpenVINOModelServerSessionCalculatorOptions]: {
      servable_name: "add"
      servable_version: "1"
    }
  }
}
node {
  calculator: "OpenVINOInferenceCalculator"
  input_side_packet: "SESSION:dummy"
  input_stream: "DUMMY_IN:in1"
  output_stream: "DUMMY_OUT:dummy_output"
  node_options: {
    [type.googleapis.com / mediapipe.OpenVINOInferenceCalculatorOptions]: {
      tag_to_input_tensor_names { key: "DUMMY_IN" value: "b" }
      tag_to_output_tensor_names { key: "DUMMY_OUT" value: "a" }
    }
  }
}
node {
  calculator: "OpenVINOInferenceCalculator"
  input_side_packet: "SESSION:add"
  input_stream: "ADD_INPUT1:dummy_output"
  input_stream: "ADD_INPUT2:in2"
  output_stream: "SUM:out"
  node_options: {
    [type.googleapis.com / mediapipe.OpenVINOInferenceCalculatorOptions]: {
      tag_to_input_tensor_names { key: "ADD_INPUT1" value: "input1" }
      tag_to_input_tensor_names { key: "ADD_INPUT2" value: "input2" }
      tag_to_output_tensor_names { key: "SUM" value: "sum" }
    }
  }
}
"""


@contextmanager
def serving_models(
    folder: Path, graph: str, pbtxt: str, models: Mapping[str, tuple[str, Any]]
) -> Iterator[Catalog]:
    """As the demo's directory: a graph with a subconfig of models by name and place."""
    home = folder / graph
    home.mkdir()
    (home / "graph.pbtxt").write_text(pbtxt)
    for place, model in models.values():
        (home / place / "1").mkdir(parents=True)
        ov.save_model(model, home / place / "1" / "model.xml", compress_to_fp16=False)
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    entries = [
        {"config": {"name": name, "base_path": place, "plugin_config": precise}}
        for name, (place, _) in models.items()
    ]
    (home / "subconfig.json").write_text(json.dumps({"model_config_list": entries}))
    config = {"model_config_list": [], "mediapipe_config_list": [{"name": graph}]}
    (folder / "config.json").write_text(json.dumps(config))
    with serving(folder) as catalog:
        yield catalog


def asked(catalog: Catalog, graph: str, **inputs: Any) -> Any:
    """One answer to one request: its one output."""
    tensors = tuple(
        InputTensor(name, "FP32", array.shape, raw=array.tobytes())
        for name, array in inputs.items()
    )
    request = InferRequest(graph, inputs=tensors, raw_count=len(tensors))
    (output,) = catalog.infer(request).result(timeout=60).outputs
    return np.frombuffer(output.data, np.float32).reshape(output.shape)


def renamed(model: Any, given: str, made: str) -> Any:
    model.inputs[0].set_names({given})
    model.outputs[0].set_names({made})
    return model


def test_an_image_is_classified(tmp_path: Path):
    checkpoint = efficientnet.read_checkpoint(assets.fetch("efficientnet_lite0.pth"))
    model = renamed(efficientnet.build(checkpoint), "0", "1463")
    models = {"resnet": ("model", model)}
    with serving_models(tmp_path, "resnetMediapipe", CLASSIFICATION, models) as catalog:
        cat = cv2.resize(photo("chelsea.png"), (224, 224), interpolation=cv2.INTER_AREA)
        pixels = ((cat.astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None]
        found = asked(
            catalog, "resnetMediapipe", **{"in": np.ascontiguousarray(pixels)}
        )
    assert found.shape == (1, 1000)
    # ImageNet: tabby, tiger cat, Persian, Siamese, Egyptian cat.
    assert found[0].argmax() in range(281, 286)


def test_models_are_chained(tmp_path: Path):
    """dummy adds 1, as OVMS's does, and its sum with the other input comes back."""
    b = op.parameter([1, 10], np.float32)
    dummy = MODEL([op.add(b, np.float32(1))], [b], "dummy")
    one, two = (op.parameter([1, 10], np.float32) for _ in range(2))
    add = MODEL([op.add(one, two)], [one, two], "add")
    one.output(0).set_names({"input1"})
    two.output(0).set_names({"input2"})
    add.outputs[0].set_names({"sum"})
    models = {
        "dummy": ("dummy", renamed(dummy, "b", "a")),
        "add": ("add_two_inputs_model", add),
    }
    first = np.arange(10, dtype=np.float32)[None]
    second = np.full((1, 10), 0.5, np.float32)
    with serving_models(tmp_path, "dummyAdd", SUMS, models) as catalog:
        found = asked(catalog, "dummyAdd", in1=first, in2=second)
    np.testing.assert_array_equal(found, first + 1.5)

"""Graphs of one model that expect something of its shapes."""

from __future__ import annotations

from typing import Any, Final

from ovms_mp import FunctionModel, Graph
from ovms_mp.calculator import TensorInfo
from ovms_mp.graph.registry import Registry

KNOWN: Final = Registry.installed()  # looked for once
IMAGE: Final = TensorInfo("image", "FP32", (1, 128, 128, 3))


def gives(*shapes: tuple[int, ...], datatype: str = "FP32", **more: Any) -> Any:
    """A model of an image, and of outputs a, b, c and so on."""
    outputs = [
        TensorInfo(name, datatype, shape)
        for name, shape in zip("abcdef", shapes, strict=False)
    ]
    told = {"inputs": [IMAGE], "outputs": outputs, **more}
    return FunctionModel(lambda tensors: tensors, name="model", **told)


def load(pbtxt: str, models: Any) -> Graph:
    return Graph.parse(pbtxt, models=models, calculators=KNOWN)


HEAD: Final = """
input_stream: "IMAGE:frame"
output_stream: "out"
node {
  calculator: "OpenVINOModelServerSessionCalculator"
  output_side_packet: "SESSION:session"
  node_options {
    [type.googleapis.com/mediapipe.OpenVINOModelServerSessionCalculatorOptions] {
      servable_name: "model"
    }
  }
}
"""
TO_TENSOR: Final = """
node {
  calculator: "ImageToTensorCalculator"
  input_stream: "IMAGE:frame"
  output_stream: "TENSORS:images"
  node_options {
    [type.googleapis.com/mediapipe.ImageToTensorCalculatorOptions] {
      output_tensor_width: WIDTH
      output_tensor_height: 128
      output_tensor_float_range { min: 0 max: 1 }
    }
  }
}
"""
INFERENCE: Final = """
node {
  calculator: "OpenVINOInferenceCalculator"
  input_side_packet: "SESSION:session"
  input_stream: "TENSORS:images"
  output_stream: "TENSORS:tensors"
  node_options {
    [type.googleapis.com/mediapipe.OpenVINOInferenceCalculatorOptions] {
      input_order_list: "image"
    }
  }
}
"""
MODEL: Final = HEAD + TO_TENSOR.replace("WIDTH", "128") + INFERENCE
SSD: Final = """
node {
  calculator: "SsdAnchorsCalculator"
  output_side_packet: "anchors"
  options {
    [mediapipe.SsdAnchorsCalculatorOptions.ext] {
      fixed_anchors { x_center: 0.5 y_center: 0.5 h: 1 w: 1 }
      fixed_anchors { x_center: 0.5 y_center: 0.5 h: 2 w: 2 }
    }
  }
}
node {
  calculator: "TensorsToDetectionsCalculator"
  input_stream: "TENSORS:tensors"
  input_side_packet: "ANCHORS:anchors"
  output_stream: "DETECTIONS:out"
  options {
    [mediapipe.TensorsToDetectionsCalculatorOptions.ext] {
      num_classes: 3 num_coords: 4 num_boxes: 2 x_scale: 1 y_scale: 1 w_scale: 1 h_scale: 1
    }
  }
}
"""
DETECTIONS: Final = MODEL + SSD


def last(calculator: str, input_stream: str, output: str, options: str = "") -> str:
    """The model, and what takes its tensors."""
    return f"""{MODEL}
node {{
  calculator: "{calculator}"
  input_stream: "{input_stream}"
  output_stream: "{output}"
  options {{ [mediapipe.{calculator}Options.ext] {{ {options} }} }}
}}
"""


LANDMARKS: Final = last(
    "TensorsToLandmarksCalculator",
    "TENSORS:tensors",
    "LANDMARKS:out",
    "num_landmarks: 21",
)
FLOAT: Final = last("TensorsToFloatsCalculator", "TENSORS:tensors", "FLOAT:out")
FLOATS: Final = FLOAT.replace("FLOAT:out", "FLOATS:out")
MASK: Final = last(
    "TensorsToSegmentationCalculator",
    "TENSORS:tensors",
    "MASK:out",
    "activation: SOFTMAX",
)
CLASSES: Final = last(
    "TensorsToClassificationCalculator",
    "TENSORS:tensors",
    "CLASSIFICATIONS:out",
    'label_map { entries { id: 0 label: "cat" } entries { id: 1 label: "dog" } }',
)
BINARY: Final = last(
    "TensorsToClassificationCalculator",
    "TENSORS:tensors",
    "CLASSIFICATIONS:out",
    "binary_classification: true",
)
REFINED: Final = (
    last(
        "SplitTensorVectorCalculator",
        "tensors",
        "places",
        "ranges { begin: 0 end: 1 } ranges { begin: 1 end: 2 }",
    )
    .replace("SplitTensorVectorCalculatorOptions", "SplitVectorCalculatorOptions")
    .replace('"places"', '"places" output_stream: "heat"')
    + """
node {
  calculator: "GateCalculator"
  input_stream: "places"
  output_stream: "some_places"
  options { [mediapipe.GateCalculatorOptions.ext] { allow: true } }
}
node {
  calculator: "TensorsToLandmarksCalculator"
  input_stream: "TENSORS:some_places"
  output_stream: "NORM_LANDMARKS:landmarks"
  options {
    [mediapipe.TensorsToLandmarksCalculatorOptions.ext] {
      num_landmarks: 5 input_image_width: 128 input_image_height: 128
    }
  }
}
node {
  calculator: "RefineLandmarksFromHeatmapCalculator"
  input_stream: "NORM_LANDMARKS:landmarks"
  input_stream: "TENSORS:heat"
  output_stream: "NORM_LANDMARKS:out"
}
"""
)
TRANSFORMED: Final = (
    HEAD
    + """
node {
  calculator: "ImageTransformationCalculator"
  input_stream: "IMAGE:frame"
  output_stream: "IMAGE:small"
  options {
    [mediapipe.ImageTransformationCalculatorOptions.ext] {
      output_width: 100 output_height: 128
    }
  }
}
node {
  calculator: "CONVERTER"
  input_stream: "IMAGE:small"
  output_stream: "TENSORS:images"
}
"""
    + INFERENCE
).replace('"out"', '"tensors"')
FRAME: Final = HEAD.replace('"out"', '"b"') + (
    """
node {
  calculator: "FrameToTensorCalculator"
  input_stream: "IMAGE:frame"
  output_stream: "OVTENSOR:image"
  node_options {
    [type.googleapis.com/ovms_mp.FrameToTensorCalculatorOptions] {
      width: 128 height: 100 scale: 255
    }
  }
}
node {
  calculator: "OpenVINOInferenceCalculator"
  input_side_packet: "SESSION:session"
  input_stream: "T:image"
  output_stream: "B:b"
  node_options {
    [type.googleapis.com/mediapipe.OpenVINOInferenceCalculatorOptions] {
      tag_to_input_tensor_names { key: "T" value: "image" }
      tag_to_output_tensor_names { key: "B" value: "b" }
    }
  }
}
"""
)

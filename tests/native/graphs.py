"""Graphs whose calculators only the wheel has."""

from __future__ import annotations

HANDS = """
input_stream: "IMAGE:image"
output_stream: "OVTENSOR:matrix"
node {
  calculator: "HandLandmarkTrackingCpu"
  name: "hands"
  input_stream: "IMAGE:image"
  input_side_packet: "NUM_HANDS:num_hands"
  output_stream: "LANDMARKS:all_hands"
}
node {
  calculator: "ConstantSidePacketCalculator"
  output_side_packet: "PACKET:num_hands"
  node_options: {
    [type.googleapis.com/mediapipe.ConstantSidePacketCalculatorOptions]: {
      packet { int_value: 1 }
    }
  }
}
node {
  calculator: "GetNormalizedLandmarkListVectorItemCalculator"
  input_stream: "VECTOR:all_hands"
  output_stream: "ITEM:hand"
  node_options: {
    [type.googleapis.com/mediapipe.GetVectorItemCalculatorOptions]: { item_index: 0 }
  }
}
node {
  calculator: "ImagePropertiesCalculator"
  input_stream: "IMAGE:image"
  output_stream: "SIZE:size"
}
node {
  calculator: "LandmarksToMatrixCalculator"
  input_stream: "LANDMARKS:hand"
  input_stream: "IMAGE_SIZE:size"
  output_stream: "LANDMARKS_MATRIX:matrix"
  node_options: {
    [type.googleapis.com/mediapipe.LandmarksToMatrixCalculatorOptions]: {
      object_normalization: false
    }
  }
}
"""
"""The first hand of a picture: [3, 21], as LandmarksToMatrixCalculator lays it out."""

SMOOTHED = """
input_stream: "OVTENSOR:points"
input_stream: "IMAGE:frame"
output_stream: "OVTENSOR:smooth"
node {
  calculator: "TensorConverterCalculator"
  input_stream: "MATRIX:points"
  output_stream: "TENSORS:tensors"
}
node {
  calculator: "TensorsToLandmarksCalculator"
  input_stream: "TENSORS:tensors"
  output_stream: "NORM_LANDMARKS:landmarks"
  node_options: {
    [type.googleapis.com/mediapipe.TensorsToLandmarksCalculatorOptions]: {
      num_landmarks: 2 input_image_width: 1 input_image_height: 1
    }
  }
}
node {
  calculator: "ImagePropertiesCalculator"
  input_stream: "IMAGE:frame"
  output_stream: "SIZE:size"
}
node {
  calculator: "LandmarksSmoothingCalculator"
  name: "smoothing"
  input_stream: "NORM_LANDMARKS:landmarks"
  input_stream: "IMAGE_SIZE:size"
  output_stream: "NORM_FILTERED_LANDMARKS:filtered"
  options {
    [mediapipe.LandmarksSmoothingCalculatorOptions.ext] { no_filter {} }
  }
}
node {
  calculator: "LandmarksToMatrixCalculator"
  input_stream: "LANDMARKS:filtered"
  input_stream: "IMAGE_SIZE:size"
  output_stream: "LANDMARKS_MATRIX:smooth"
  node_options: {
    [type.googleapis.com/mediapipe.LandmarksToMatrixCalculatorOptions]: {
      object_normalization: false
    }
  }
}
"""
"""Two points, smoothed. LandmarksSmoothingCalculator aborts the process when points
come without a frame."""

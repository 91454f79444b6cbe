"""Graphs that need the wheel, for some of their nodes."""

from __future__ import annotations

HANDS = """
input_stream: "IMAGE:image"
output_stream: "OVTENSOR:matrix"
node {
  calculator: "GateCalculator"
  input_stream: "image"
  output_stream: "frame"
  node_options: {
    [type.googleapis.com/mediapipe.GateCalculatorOptions]: { allow: true }
  }
}
node {
  calculator: "ImageToTensorCalculator"
  name: "hands"
  input_stream: "IMAGE:frame"
  output_stream: "TENSORS:pixels"
  node_options: {
    [type.googleapis.com/mediapipe.ImageToTensorCalculatorOptions]: {
      output_tensor_width: 224 output_tensor_height: 224
      output_tensor_float_range { min: 0 max: 1 }
    }
  }
}
node {
  calculator: "InferenceCalculator"
  input_stream: "TENSORS:pixels"
  output_stream: "TENSORS:tensors"
  node_options: {
    [type.googleapis.com/mediapipe.InferenceCalculatorOptions]: {
      model_path: "mediapipe/modules/hand_landmark/hand_landmark_full.tflite"
      delegate { xnnpack {} }
    }
  }
}
node {
  calculator: "TensorsToLandmarksCalculator"
  input_stream: "TENSORS:tensors"
  output_stream: "NORM_LANDMARKS:trembling"
  node_options: {
    [type.googleapis.com/mediapipe.TensorsToLandmarksCalculatorOptions]: {
      num_landmarks: 21 input_image_width: 224 input_image_height: 224
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
  input_stream: "NORM_LANDMARKS:trembling"
  input_stream: "IMAGE_SIZE:size"
  output_stream: "NORM_FILTERED_LANDMARKS:hand"
  node_options: {
    [type.googleapis.com/mediapipe.LandmarksSmoothingCalculatorOptions]: {
      one_euro_filter { min_cutoff: 0.05 beta: 80 derivate_cutoff: 1 }
    }
  }
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
"""The hand that fills a picture: [3, 21], as LandmarksToMatrixCalculator lays it out. It
is smoothed, so each depends on those before."""

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
  calculator: "TensorsToEmbeddingsCalculator"
  input_stream: "TENSORS:tensors"
  output_stream: "EMBEDDINGS:unused"
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
"""Two points, smoothed; what only the wheel has at both ends keeps all of it in native
code. LandmarksSmoothingCalculator aborts the process when points come without a frame."""

"""Models are loaded and run here; `openvino.py` is the only door to OpenVINO."""

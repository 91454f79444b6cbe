"""Whatever is OpenVINO's stays in this package: nothing else imports it."""

from ovms_mp.inference.openvino.engine import OpenVINOEngine

__all__ = ("OpenVINOEngine",)

"""MediaPipe graphs and OpenVINO models, served over KServe v2."""

__all__ = ("__version__",)
__version__ = "0.1.0"

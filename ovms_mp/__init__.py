"""MediaPipe graphs and OpenVINO models, served over KServe v2; and the graphs without
a server, in this process. What is named here is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovms_mp.core.image import ImageFormat as ImageFormat
    from ovms_mp.core.image import ImageFrame as ImageFrame
    from ovms_mp.core.packet import Packet as Packet
    from ovms_mp.library.errors import GraphError as GraphError
    from ovms_mp.library.graph import Graph as Graph
    from ovms_mp.library.models import FunctionModel as FunctionModel
    from ovms_mp.library.run import Observer as Observer
    from ovms_mp.library.run import Run as Run

__all__ = (
    "FunctionModel",
    "Graph",
    "GraphError",
    "ImageFormat",
    "ImageFrame",
    "Observer",
    "Packet",
    "Run",
    "__version__",
)
__version__ = "0.1.0"

_HOMES = {
    "FunctionModel": "ovms_mp.library.models",
    "Graph": "ovms_mp.library.graph",
    "GraphError": "ovms_mp.library.errors",
    "ImageFormat": "ovms_mp.core.image",
    "ImageFrame": "ovms_mp.core.image",
    "Observer": "ovms_mp.library.run",
    "Packet": "ovms_mp.core.packet",
    "Run": "ovms_mp.library.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)

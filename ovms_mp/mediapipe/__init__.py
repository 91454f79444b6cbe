"""The names of `mediapipe` with which Python runs a graph, on our runtime: for programs
that were written for the wheel (0.10.21), whose successors have no graphs.

    from ovms_mp import mediapipe as mp
"""

from ovms_mp.mediapipe import packet_creator, packet_getter
from ovms_mp.mediapipe.calculator_graph import CalculatorGraph, GraphInputStreamAddMode
from ovms_mp.mediapipe.image import Image, ImageFormat, ImageFrame
from ovms_mp.mediapipe.packet import Packet
from ovms_mp.mediapipe.timestamp import Timestamp
from ovms_mp.mediapipe.validated_graph_config import ValidatedGraphConfig

__all__ = (
    "CalculatorGraph",
    "GraphInputStreamAddMode",
    "Image",
    "ImageFormat",
    "ImageFrame",
    "Packet",
    "Timestamp",
    "ValidatedGraphConfig",
    "packet_creator",
    "packet_getter",
)

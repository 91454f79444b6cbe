"""What a host of many runs, such as a server, names besides Graph: it opens runs with
`Graph.open` on threads of its own, and hears of them as a RunListener.
"""

from __future__ import annotations

from ovms_mp.graph.config import GraphConfig, StreamName
from ovms_mp.graph.definition import GraphDefinition
from ovms_mp.graph.listener import RunListener
from ovms_mp.graph.registry import Registry
from ovms_mp.graph.run import GraphRun

__all__ = (
    "GraphConfig",
    "GraphDefinition",
    "GraphRun",
    "Registry",
    "RunListener",
    "StreamName",
)

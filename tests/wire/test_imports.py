"""What a server imports that does not need it would be a part of its start."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

HEAVY: Final = (
    "cv2",
    "fast_sugiyama",
    "mediapipe",
    "prometheus_client",
    "starlette",
    "uvicorn",
    "watchdog",
)


def test_a_server_imports_nothing_heavy_before_it_is_needed() -> None:
    """REST is for those who have a port for it, OpenCV for graphs of pictures, drawing for
    who looks; and files are watched once all is served.
    """
    asked = "import sys, ovms_mp.app; print(*sys.modules)"
    child = [sys.executable, "-c", asked]
    told = subprocess.run(child, check=True, capture_output=True, text=True).stdout
    assert "grpc" in told.split()
    assert not set(HEAVY) & set(told.split())

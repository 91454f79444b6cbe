"""What a server imports that does not need it would be a part of its start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.unit.inference import tiny

HEAVY: Final = (
    "cv2",
    "fast_sugiyama",
    "mediapipe",
    "prometheus_client",
    "starlette",
    "uvicorn",
    "watchdog",
)


# What graphs run on, and are read by.
GRAPHS: Final = (
    "ovms_mp.formats",
    "ovms_mp.graph",
    "ovms_mp.library.graph",
    "ovms_mp.native",
    "ovms_mp.servable.graph",
    "ovms_mp_protos.graph",
)

SERVE: Final = """
import sys
from pathlib import Path
from ovms_mp.app import App
from ovms_mp.repository.config import ModelSpec
from ovms_mp.settings import ANY_PORT, Settings

source = ModelSpec("tiny", Path(sys.argv[1]))
app = App(Settings(source, port=ANY_PORT, bind_addresses=("127.0.0.1",)))
app.start()
serves = app.serves_its_purpose
names = {*sys.modules}
app.stop(0)
print(serves, *names)
"""


def test_a_server_imports_nothing_heavy_before_it_is_needed() -> None:
    """REST is for those who have a port for it, OpenCV for graphs of pictures, drawing for
    who looks; and files are watched once all is served.
    """
    told = said_by("import sys, ovms_mp.app; print(*sys.modules)")
    assert "grpc" in told
    assert not set(HEAVY) & told


def test_a_server_of_a_model_imports_nothing_of_graphs(tmp_path: Path) -> None:
    """Nor does it ask what calculators there are."""
    (tmp_path / "1").mkdir()
    tiny.save(tmp_path / "1", tiny.add_one())
    told = said_by(SERVE, str(tmp_path))
    assert {"True", "ovms_mp.servable.model"} <= told
    assert not set(GRAPHS) & told


def said_by(program: str, *arguments: str) -> set[str]:
    """The words that a new interpreter prints."""
    child = [sys.executable, "-c", program, *arguments]
    told = subprocess.run(child, check=True, capture_output=True, text=True).stdout
    return set(told.split())

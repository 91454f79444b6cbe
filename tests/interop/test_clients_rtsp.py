"""A camera that speaks RTSP, watched through a server by several streams at a time."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pytest

from tests.wire.servers import Server

# Prints the port that it listens on; ends with its standard input.
SOURCE: Final = """
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")

from gi.repository import GLib, Gst, GstRtspServer

PICTURES = (
    "( videotestsrc is-live=true pattern=ball"
    " ! video/x-raw,format=I420,width=320,height=240,framerate=15/1"
    " ! jpegenc ! rtpjpegpay name=pay0 )"
)

Gst.init(None)
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_launch(PICTURES)
factory.set_shared(True)
server.get_mount_points().add_factory("/camera", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
loop = GLib.MainLoop()
GLib.io_add_watch(sys.stdin, GLib.IO_IN | GLib.IO_HUP, lambda *_: loop.quit())
loop.run()
"""
# Debian's own: GStreamer's bindings are for no other.
PYTHON: Final = "/usr/bin/python3"
STREAMS: Final = 4
FRAMES: Final = 15
SIZE: Final = (320, 240)
ENDS_WITHIN: Final = 120


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[str]:
    """Its URL; where the packages of .ci/run are not installed, a file of the same."""
    if not has_server():
        yield str(filmed(tmp_path / "ball.avi"))
        return
    with subprocess.Popen(
        (PYTHON, "-c", SOURCE), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield f"rtsp://127.0.0.1:{int(server.stdout.readline())}/camera"
        server.stdin.close()


def has_server() -> bool:
    names = "gi.require_version('GstRtspServer', '1.0')"
    probe = f"import gi; {names}; from gi.repository import GstRtspServer"
    try:
        subprocess.run(
            (PYTHON, "-c", probe), check=True, capture_output=True, timeout=ENDS_WITHIN
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def filmed(path: Path) -> Path:
    """A white ball that moves before nothing."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, SIZE)
    for number in range(2 * FRAMES):
        frame = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        cv2.circle(frame, (60 + 5 * number, 100), 20, (255, 255, 255), -1)
        writer.write(frame)
    writer.release()
    return path


def balls(path: Path) -> list[tuple[int, int]]:
    """Where the ball is in each frame of a video: the middle of what is bright."""
    capture = cv2.VideoCapture(str(path))
    found: list[tuple[int, int]] = []
    while True:
        is_there, frame = capture.read()
        if not is_there:
            capture.release()
            return found
        assert frame.shape == (SIZE[1], SIZE[0], 3)
        rows, columns = np.nonzero(frame.min(axis=2) > 128)
        assert 200 < len(rows) < 5000, "a ball before nothing"
        found.append((int(columns.mean()), int(rows.mean())))


@pytest.mark.timeout(2 * ENDS_WITHIN)
def test_four_streams_show_a_camera_that_speaks_rtsp(
    server: Server, camera: str, tmp_path: Path
) -> None:
    """What comes back on each is what the camera saw."""
    done = subprocess.run(
        (
            *(sys.executable, "-m", "ovms_mp_clients.video"),
            *("--grpc_address", server.address, "--model_name", "image"),
            *("--input_stream", camera, "--streams", str(STREAMS)),
            *("--limit_frames", str(FRAMES)),
            *("--output_stream", str(tmp_path / "seen.avi")),
        ),
        capture_output=True,
        timeout=ENDS_WITHIN,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = re.findall(rf"^stream (\d+): {FRAMES} frames,", done.stdout, re.MULTILINE)
    assert sorted(map(int, shown)) == list(range(1, STREAMS + 1)), done.stdout
    for number in range(1, STREAMS + 1):
        seen = balls(tmp_path / f"seen-{number}.avi")
        assert len(seen) == FRAMES
        assert len(set(seen)) > FRAMES / 2, "it moves"

"""A camera that speaks RTSP, watched through a server by several streams at a time."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

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
ENDS_WITHIN: Final = 120


@pytest.fixture
def camera() -> Iterator[str]:
    """Its URL. Skipped where the packages of .ci/run are not installed."""
    names = "gi.require_version('GstRtspServer', '1.0')"
    probe = (
        PYTHON,
        "-c",
        f"import gi; {names}; from gi.repository import GstRtspServer",
    )
    try:
        subprocess.run(probe, check=True, capture_output=True, timeout=ENDS_WITHIN)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no RTSP server of GStreamer's")
    with subprocess.Popen(
        (PYTHON, "-c", SOURCE), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield f"rtsp://127.0.0.1:{int(server.stdout.readline())}/camera"
        server.stdin.close()


@pytest.mark.timeout(2 * ENDS_WITHIN)
def test_four_streams_show_a_camera_that_speaks_rtsp(server: Server, camera: str):
    done = subprocess.run(
        (
            *(sys.executable, "-m", "ovms_mp_clients.video"),
            *("--grpc_address", server.address, "--model_name", "image"),
            *("--input_stream", camera, "--streams", str(STREAMS)),
            *("--limit_frames", str(FRAMES)),
        ),
        capture_output=True,
        timeout=ENDS_WITHIN,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = re.findall(rf"^stream (\d+): {FRAMES} frames,", done.stdout, re.MULTILINE)
    assert sorted(map(int, shown)) == list(range(1, STREAMS + 1)), done.stdout

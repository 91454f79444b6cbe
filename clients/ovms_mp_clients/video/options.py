"""The command line, judged once, as one frozen value; needs no OpenCV.

Flags that OVMS's own video client has are called as there.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

NO_OUTPUT: Final = "none"
PIPE: Final = "-"
SCREEN: Final = "screen"

_DESCRIPTION: Final = """\
Streams a video through a graph and says how fast that was. Frames go as UINT8
[height, width, 3] in RGB; a file is sent as fast as the graph takes it, of a camera or
an RTSP stream the frames that find no room in the window are dropped.
"""

_EPILOG: Final = """\
To have the answer as an RTSP stream, pipe the frames into ffmpeg:
ovms-mp-video ... --output_stream - | ffmpeg -f rawvideo -pix_fmt rgb24 -s 768x576 -r 10
-i - -f rtsp rtsp://localhost:8554/out
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user wants. 0 is no limit; times are in seconds.

    `input_name` and `output_name` are empty where the graph's only ones are meant.
    """

    grpc_address: str
    model_name: str
    input_stream: str
    output_stream: str
    input_name: str
    output_name: str
    streams: int
    window: int
    limit_frames: int
    limit_stream_duration: float
    reconnect: float
    verbose: bool


def parse(arguments: Sequence[str] | None) -> Options:
    """The options on the command line. Exits with code 2 where they make no sense."""
    parser = argparse.ArgumentParser(
        "ovms-mp-video", description=_DESCRIPTION, epilog=_EPILOG
    )
    add = parser.add_argument
    add("--grpc_address", default="localhost:9000", help="default: %(default)s")
    add("--model_name", required=True, help="the graph")
    add(
        "--input_stream",
        required=True,
        help="a file, the number of a camera, or an RTSP or other URL",
    )
    add(
        "--output_stream",
        default=NO_OUTPUT,
        help="a file (.mp4, .avi or .mkv; with several streams -1, -2, ... goes before "
        f"the suffix), {PIPE} for raw RGB frames on standard output, {SCREEN} for a "
        "window, or %(default)s, which is the default",
    )
    add("--input_name", default="", help="default: the graph's only input")
    add("--output_name", default="", help="default: the graph's only output")
    add(
        "--streams",
        type=_positive,
        default=1,
        help="streams at once, each reading the source; default: %(default)s",
    )
    add(
        "--window",
        type=_positive,
        default=4,
        help="frames of a stream in flight; default: %(default)s",
    )
    add("--limit_frames", type=_limit, default=0, help="frames of a stream to send")
    add(
        "--limit_stream_duration",
        type=_seconds,
        default=0.0,
        help="seconds for which frames are sent",
    )
    add(
        "--reconnect",
        type=_seconds,
        default=60.0,
        help="seconds to try for a new stream when one is lost; 0 does not try; "
        "default: %(default)g",
    )
    add("--verbose", action="store_true", help="a line for each frame")
    options = Options(**vars(parser.parse_args(arguments)))
    if options.output_stream == PIPE and options.streams > 1:
        parser.error("several streams cannot share standard output")
    if "://" in options.output_stream:
        parser.error("--output_stream is no URL; --help says how ffmpeg makes it one")
    return options


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return int(text)


def _limit(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return value

"""The way in: what is wrong at the start is said in a line, OpenCV's absence too."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from ovms_mp_clients.errors import ClientError
from ovms_mp_clients.video import options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the video client; 0 if all went well."""
    wanted = options.parse(arguments)
    try:
        from ovms_mp_clients.video import player
        from ovms_mp_clients.video.sources import VideoError
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise
        sys.stderr.write(
            "ovms-mp-video needs OpenCV: pip install opencv-python-headless, or "
            "opencv-python for windows\n"
        )
        return 1
    # A video that is being written has to be finished, or nobody can read it.
    # Both: a shell that starts a program in the background has it ignore SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return player.play(wanted)
    except (ClientError, VideoError) as error:
        sys.stderr.write(f"ovms-mp-video: {error}\n")
        return 1
    except KeyboardInterrupt:  # before there was anything to finish
        return 130

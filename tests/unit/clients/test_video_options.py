"""The command line means what OVMS's client means by it, and what makes no sense is
said before anything happens.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from ovms_mp_clients.video.options import parse

NEEDED = ("--model_name", "people", "--input_stream", "street.mp4")


def test_only_the_graph_and_the_source_have_to_be_said():
    options = parse(NEEDED)
    assert (options.model_name, options.input_stream) == ("people", "street.mp4")
    assert (options.output_stream, options.streams) == ("none", 1)
    assert (options.limit_frames, options.limit_stream_duration) == (0, 0)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--window", "0"), "argument --window: 0 is no number from 1 on"),
        (("--streams", "-1"), "argument --streams: -1 is no number from 1 on"),
        (("--limit_frames", "many"), "many is no number from 0 on"),
        (("--limit_stream_duration", "nan"), "nan is no number of seconds"),
        (("--reconnect", "-1"), "-1 is no number of seconds"),
        (
            ("--streams", "2", "--output_stream", "-"),
            "several streams cannot share standard output",
        ),
        (("--output_stream", "rtsp://localhost/out"), "--output_stream is no URL"),
    ],
)
def test_what_makes_no_sense_is_refused(flags, complaint, capsys):
    with pytest.raises(SystemExit) as ended:
        parse([*NEEDED, *flags])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_without_opencv_a_line_says_what_to_install():
    # -c, so that the module that is missing is missing to an interpreter of its own.
    program = (
        "import sys; sys.modules['cv2'] = None\n"
        "from ovms_mp_clients.video.cli import main\n"
        f"sys.exit(main({NEEDED!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        "ovms-mp-video needs OpenCV: pip install opencv-python-headless, or "
        "opencv-python for windows\n"
    )


def test_the_library_and_the_help_do_without_opencv():
    program = (
        "import sys; sys.modules['cv2'] = None\n"
        "import ovms_mp_clients\n"
        "from ovms_mp_clients.video.cli import main\n"
        "main(['--help'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--limit_stream_duration" in done.stdout

"""The video client as people run it: a command, a server, and files, pipes and URLs."""

from __future__ import annotations

import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from graphs import assets, repository
from tests.wire import zoo
from tests.wire.servers import Process, Server, serving
from tests.wire.waiting import until

ENDS_WITHIN = 50.0  # seconds
SIZE = (64, 48)
FRAMES = 30
SUMMARY = re.compile(
    r"stream (\d+): (\d+) frames, ([\d.]+) frames/s, "
    r"latency p50 ([\d.]+) ms, p99 ([\d.]+) ms(.*)"
)


def picture(number: int) -> NDArray[np.uint8]:
    """A frame that can be told from the others."""
    pixels = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    pixels[:, : 2 * (number % FRAMES) + 2] = (255, 128, 0)
    return pixels


def pictures(path: Path) -> list[NDArray[Any]]:
    """The frames of a video, RGB."""
    capture = cv2.VideoCapture(str(path))
    frames: list[NDArray[Any]] = []
    while True:
        is_there, frame = capture.read()
        if not is_there:
            capture.release()
            return frames
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, SIZE)
    for number in range(FRAMES):
        writer.write(picture(number))
    writer.release()
    return path


@pytest.fixture
def camera() -> Iterator[str]:
    """The URL of a camera that never ends, as network cameras offer one."""
    host = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Camera)
    host.daemon_threads = True
    thread = threading.Thread(target=host.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{host.server_port}/"
    host.shutdown()
    thread.join()
    host.server_close()


class _Camera(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        kind = "multipart/x-mixed-replace; boundary=frame"
        self.send_header("Content-Type", kind)
        self.end_headers()
        pace = threading.Event()
        number = 0
        try:
            while not pace.wait(0.01):
                jpeg = cv2.imencode(".jpg", picture(number))[1].tobytes()
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
                self.wfile.write(f"--frame\r\n{head}\r\n\r\n".encode() + jpeg + b"\r\n")
                number += 1
        except OSError:
            return  # nobody looks any more

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


def command(address: str, graph: str, source: object, *flags: str) -> list[str]:
    return [
        *(sys.executable, "-m", "ovms_mp_clients.video"),
        *("--grpc_address", address, "--model_name", graph),
        *("--input_stream", str(source), *flags),
    ]


def play(*words: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(*words), capture_output=True, timeout=ENDS_WITHIN, check=False
    )


@contextmanager
def playing(log: Path, *words: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The client at work; what it says goes into `log`."""
    with (
        log.open("wb") as output,
        subprocess.Popen(command(*words), stdout=output, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def speaking(folder: Path, *body: str) -> Path:
    """The config of a graph `words` with one Python node."""
    lines = ("import time", "import numpy as np", "from pyovms import Tensor")
    head = ("class OvmsPythonModel:", "    def execute(self, inputs):")
    handler = "\n".join((*lines, *head, *(f"        {each}" for each in body)))
    zoo.add_graph(folder, "words", zoo.GRAPHS["words"], speaker=handler)
    return zoo.write_config(folder, graphs=[{"name": "words"}])


def summaries(text: str) -> list[re.Match[str]]:
    return list(SUMMARY.finditer(text))


def test_a_file_comes_back_as_a_file_with_as_many_frames(
    server: Server, clip: Path, tmp_path: Path
):
    out = tmp_path / "out.mp4"
    done = play(server.address, "image", clip, "--output_stream", str(out))
    assert done.returncode == 0, done.stderr
    written = pictures(out)
    assert len(written) == FRAMES
    for before, after in zip(pictures(clip), written, strict=True):
        assert np.abs(before.astype(int) - after).mean() < 12
    (line,) = summaries(done.stdout.decode())
    assert (line[1], line[2], line[6]) == ("1", str(FRAMES), "")
    assert 0 < float(line[4]) <= float(line[5])
    capture = cv2.VideoCapture(str(out))
    assert capture.get(cv2.CAP_PROP_FPS) == 10
    capture.release()


def test_a_pipe_has_the_frames_and_nothing_else(server: Server, clip: Path):
    done = play(server.address, "image", clip, "--output_stream", "-", "--verbose")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"".join(each.tobytes() for each in pictures(clip))
    said = done.stderr.decode()
    assert "stream 1: rawvideo, rgb24, 64x48, 10 frames/s" in said
    assert len(re.findall(r"stream 1: frame \d+: [\d.]+ ms", said)) == FRAMES
    assert len(summaries(said)) == 1


def test_who_reads_a_pipe_may_stop(server: Server, clip: Path):
    words = command(server.address, "image", clip, "--output_stream", "-")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as it:
        assert it.stdout is not None and it.stderr is not None
        assert len(it.stdout.read(1000)) == 1000
        it.stdout.close()
        said = it.stderr.read().decode()
        assert it.wait(ENDS_WITHIN) == 0
    assert "Traceback" not in said
    assert "failed" not in said


def test_several_streams_go_at_once_and_each_has_its_file_and_its_figures(
    server: Server, clip: Path, tmp_path: Path
):
    out = tmp_path / "out.avi"
    flags = ("--streams", "3", "--output_stream", str(out), "--limit_frames", "9")
    done = play(server.address, "image", clip, *flags)
    assert done.returncode == 0, done.stderr
    lines = summaries(done.stdout.decode())
    assert [(each[1], each[2]) for each in lines] == [
        ("1", "9"),
        ("2", "9"),
        ("3", "9"),
    ]
    files = sorted(each.name for each in tmp_path.iterdir())
    assert files == ["out-1.avi", "out-2.avi", "out-3.avi"]
    assert {len(pictures(tmp_path / each)) for each in files} == {9}


def test_sending_ends_after_the_seconds_that_it_may_take(server: Server, camera: str):
    done = play(server.address, "image", camera, "--limit_stream_duration", "0.5")
    assert done.returncode == 0, done.stderr
    (line,) = summaries(done.stdout.decode())
    assert 0 < int(line[2]) < 500


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_has_seen_enough_still_gets_a_whole_file(
    server: Server, camera: str, tmp_path: Path, number: signal.Signals
):
    log, out = tmp_path / "log", tmp_path / "out.mp4"
    flags = ("--output_stream", str(out), "--verbose")
    with playing(log, server.address, "image", camera, *flags) as process:
        assert until(lambda: "frame 9:" in log.read_text(), ENDS_WITHIN)
        process.send_signal(number)
        assert process.wait(ENDS_WITHIN) == 130
    (line,) = summaries(log.read_text())
    assert len(pictures(out)) == int(line[2]) >= 10


def test_a_server_that_dies_is_told_and_the_next_one_taken(camera: str, tmp_path: Path):
    zoo.add_graph(tmp_path, "image", zoo.GRAPHS["image"])
    config = zoo.write_config(tmp_path, graphs=[{"name": "image"}])
    flags = "--config_path", str(config)
    log = tmp_path / "log"
    with Process(tmp_path, *flags) as first:
        address = first.ready()
        playing_camera = playing(log, address, "image", camera, "--verbose")
        with playing_camera as process:
            assert until(lambda: "frame 9:" in log.read_text(), ENDS_WITHIN)
            first.process.kill()
            first.process.wait()
            assert until(lambda: "stream lost with" in log.read_text(), ENDS_WITHIN)
            port = address.rpartition(":")[2]
            with Process(tmp_path, *flags, port=port) as second:
                second.ready()
                anew = "stream 1: a new stream, which begins without state\n"
                assert until(
                    lambda: "ms\n" in log.read_text().partition(anew)[2], ENDS_WITHIN
                )
                process.send_signal(signal.SIGINT)
                assert process.wait(ENDS_WITHIN) == 130
    (line,) = summaries(log.read_text())
    assert line[6].endswith("1 times lost")


def test_a_server_that_stays_away_is_an_error_after_the_time_to_reconnect(
    camera: str, tmp_path: Path
):
    zoo.add_graph(tmp_path, "image", zoo.GRAPHS["image"])
    config = zoo.write_config(tmp_path, graphs=[{"name": "image"}])
    log = tmp_path / "log"
    with Process(tmp_path, "--config_path", str(config)) as server:
        flags = ("--verbose", "--reconnect", "0.5")
        with playing(log, server.ready(), "image", camera, *flags) as process:
            assert until(lambda: "frame 9:" in log.read_text(), ENDS_WITHIN)
            server.process.kill()
            assert process.wait(ENDS_WITHIN) == 1
    assert "stream 1 failed: UNAVAILABLE: " in log.read_text()


def test_frames_of_a_live_source_that_find_no_room_are_dropped(tmp_path: Path):
    slowly = "time.sleep(0.3)", "return [Tensor('said', np.array(inputs[0]))]"
    config = speaking(tmp_path, *slowly)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"udp://127.0.0.1:{probe.getsockname()[1]}"
    done = threading.Event()

    def broadcast() -> None:
        # OpenCV knows by the suffix that this is to be MPEG-TS.
        kind = cv2.VideoWriter.fourcc(*"mpg2")
        writer = cv2.VideoWriter(f"{url}/live.ts", cv2.CAP_FFMPEG, kind, 25, (320, 240))
        number = 0
        while not done.wait(0.04):
            writer.write(cv2.resize(picture(number), (320, 240)))
            number += 1
        writer.release()

    sender = threading.Thread(target=broadcast)
    sender.start()
    try:
        with serving(config) as server:
            flags = ("--window", "1", "--limit_frames", "4")
            played = play(server.address, "words", url, *flags)
    finally:
        done.set()
        sender.join()
    assert played.returncode == 0, played.stderr
    (line,) = summaries(played.stdout.decode())
    assert line[2] == "4"
    dropped = re.search(r", (\d+) dropped", line[6])
    assert dropped and int(dropped[1]) >= 3


@pytest.mark.parametrize(
    ("graph", "flags", "complaint"),
    [
        ("nobody", (), "NOT_FOUND: Model with requested name is not found"),
        ("fan", (), "fan has 2 outputs: same, more; choose with --output_name"),
        (
            "fan",
            ("--output_name", "less"),
            "fan has no output 'less', it has: same, more",
        ),
        ("image", ("--input_name", "frame"), "image has no input 'frame', it has: in"),
        ("image", ("--output_stream", "out.gif"), "cannot write out.gif: the suffix"),
        ("image", ("--output_stream", "screen"), "there is no display for a window"),
    ],
)
def test_what_cannot_begin_is_told_in_a_line(
    server: Server, clip: Path, graph: str, flags: tuple[str, ...], complaint: str
):
    environment = {**os.environ, "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    done = subprocess.run(
        command(server.address, graph, clip, *flags),
        capture_output=True,
        timeout=ENDS_WITHIN,
        env=environment,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"ovms-mp-video: {complaint}")


def test_an_opencv_without_windows_says_which_one_has_some(server: Server, clip: Path):
    if "GUI:                           NONE" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV has windows")
    done = subprocess.run(
        command(server.address, "image", clip, "--output_stream", "screen"),
        capture_output=True,
        timeout=ENDS_WITHIN,
        env={**os.environ, "DISPLAY": ":99"},
        check=False,
    )
    assert done.returncode == 1
    assert b"install opencv-python in the place of" in done.stderr


def test_a_source_that_is_none_is_told_in_a_line(server: Server, tmp_path: Path):
    done = play(server.address, "image", tmp_path / "nothing.mp4")
    assert done.returncode == 1
    line = done.stderr.decode().splitlines()[-1]
    assert line.startswith("ovms-mp-video: cannot open ")


def test_a_frame_that_the_graph_refuses_ends_its_stream_with_the_reason(
    server: Server, clip: Path
):
    done = play(server.address, "add", clip)
    assert done.returncode == 1
    assert b"stream 1 failed: INVALID_ARGUMENT: " in done.stderr
    assert b"Traceback" not in done.stderr


def test_an_output_that_is_no_picture_can_be_measured_but_is_no_video(
    clip: Path, tmp_path: Path
):
    config = speaking(tmp_path, "return [Tensor('said', np.zeros((2, 7)))]")
    with serving(config) as server:
        measured = play(server.address, "words", clip)
        written = play(server.address, "words", clip, "--output_stream", "-")
    assert measured.returncode == 0
    assert summaries(measured.stdout.decode())[0][2] == str(FRAMES)
    assert written.returncode == 1
    assert written.stderr.decode().splitlines()[-1] == (
        "stream 1 failed: the output is float64 [2, 7], "
        "a frame is uint8 [height, width, 3]"
    )


def test_people_are_drawn_into_a_real_clip(tmp_path: Path):
    try:
        clip = assets.fetch("vtest.avi")
        repository.add_graph(tmp_path, "people_tracking")
    except assets.AssetUnavailable as error:
        pytest.skip(str(error))
    out = tmp_path / "out.mp4"
    with serving(tmp_path / "config.json") as server:
        flags = ("--output_name", "annotated", "--output_stream", str(out))
        limit = ("--limit_frames", "12")
        done = play(server.address, "people_tracking", clip, *flags, *limit)
    assert done.returncode == 0, done.stderr
    before, after = pictures(clip)[:12], pictures(out)
    assert len(after) == 12
    drawn = [
        np.mean(np.abs(one.astype(int) - other).max(axis=2) > 80)
        for one, other in zip(before, after, strict=True)
    ]
    assert min(drawn) > 0.002, "nothing is drawn"

"""What goes into a sink comes out of what it made."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from ovms_mp_clients.video.sinks import (
    FileSink,
    PipeSink,
    ReaderGone,
    as_pixels,
    numbered,
)
from ovms_mp_clients.video.sources import Source, VideoError

RED = np.broadcast_to(np.array([255, 0, 0], np.uint8), (48, 64, 3))


def test_a_file_has_the_frames_their_colours_and_their_speed(tmp_path: Path):
    for suffix in (".avi", ".mkv", ".mp4"):
        path = tmp_path / f"out{suffix}"
        sink = FileSink(path, fps=12.5)
        for _ in range(7):
            sink.write(RED)
        sink.close()
        source = Source(str(path))
        assert source.fps == 12.5
        frames = []
        while source.grab():
            frames.append(source.retrieve())
        source.close()
        assert len(frames) == 7
        assert np.abs(frames[0].mean(axis=(0, 1)) - (255, 0, 0)).max() < 16


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(VideoError, match=r"out.txt: the suffix has to be one of .avi"):
        FileSink(tmp_path / "out.txt", 10)
    sink = FileSink(tmp_path / "nowhere" / "out.mp4", 10)
    with pytest.raises(VideoError, match=r"cannot write .*nowhere"):
        sink.write(RED)
    sink.close()


def test_frames_of_another_size_are_refused_and_not_left_out(tmp_path: Path):
    sink = FileSink(tmp_path / "out.avi", 10)
    sink.write(RED)
    with pytest.raises(VideoError, match="a frame is 32x48, those before were 64x48"):
        sink.write(RED[:, :32])
    sink.close()


def test_a_pipe_has_the_bytes_of_the_frames_and_a_word_about_their_format():
    read_end, write_end = os.pipe()
    told: list[str] = []
    sink = PipeSink(write_end, 10, told.append)
    os.close(write_end)
    frames = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    sink.write(frames[0])
    sink.write(frames[1][:, ::-1])
    sink.close()
    with os.fdopen(read_end, "rb") as reader:
        written = reader.read()
    assert written == frames[0].tobytes() + frames[1][:, ::-1].tobytes()
    assert told == ["rawvideo, rgb24, 6x4, 10 frames/s"]


def test_a_pipe_that_nobody_reads_is_an_end_and_no_error():
    read_end, write_end = os.pipe()
    sink = PipeSink(write_end, 10, lambda text: None)
    os.close(write_end)
    os.close(read_end)
    with pytest.raises(ReaderGone):
        sink.write(RED)
    sink.close()


@pytest.mark.parametrize(
    "output",
    [
        np.zeros((4, 6, 3), np.float32),
        np.zeros((4, 6), np.uint8),
        np.zeros((4, 6, 1), np.uint8),
        np.zeros((0, 6, 3), np.uint8),
    ],
)
def test_what_is_no_frame_is_refused_with_what_it_is(output):
    with pytest.raises(VideoError) as raised:
        as_pixels(output)
    assert f"{output.dtype} {list(output.shape)}" in str(raised.value)


def test_bytes_are_no_frame():
    with pytest.raises(VideoError, match="BYTES"):
        as_pixels([b"jpeg"])


def test_several_streams_write_several_files():
    path = Path("a/out.mp4")
    assert numbered(path, 1, of=1) == path
    assert [numbered(path, each, of=2).name for each in (1, 2)] == [
        "out-1.mp4",
        "out-2.mp4",
    ]


def test_a_source_that_is_none_is_named(tmp_path: Path):
    with pytest.raises(VideoError, match=r"cannot open .*nothing.mp4 as a video"):
        Source(str(tmp_path / "nothing.mp4"))
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(VideoError, match="cannot open"):
        Source(str(text))


def test_a_frame_is_rgb(tmp_path: Path):
    path = str(tmp_path / "red.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    writer.write(np.ascontiguousarray(RED[:, :, ::-1]))
    writer.release()
    source = Source(path)
    assert source.grab()
    frame = source.retrieve()
    assert not source.grab()
    source.close()
    assert frame.shape == (48, 64, 3)
    assert np.abs(frame.mean(axis=(0, 1)) - (255, 0, 0)).max() < 16

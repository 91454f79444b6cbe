"""What needs the wheel is skipped without it, and says so."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from graphs import assets
from ovms_mp.native import inventory
from ovms_mp.native.workers import POOL
from tests.wire.waiting import until

FRAMES = 12


@pytest.fixture(scope="session")
def wheel() -> None:
    if problem := inventory.problem():
        pytest.skip(f"native calculators: {problem}")


@pytest.fixture
def no_worker_left(wheel: None) -> Iterator[None]:
    """A test of the wheel, which leaves no process behind."""
    yield
    assert until(lambda: not POOL.pids), "a native worker is left"


@pytest.fixture(scope="session")
def hand_frames(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """A hand that holds a cup: RGB, [480, 640, 3], uint8."""
    packed = assets.fetch("cup.mp4.gz")
    path: Path = tmp_path_factory.mktemp("video") / "cup.mp4"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    capture = cv2.VideoCapture(str(path))
    frames: list[np.ndarray] = []
    for _ in range(FRAMES):
        is_there, frame = capture.read()
        assert is_there
        frames.append(np.ascontiguousarray(frame[:, :, ::-1]))
    capture.release()
    return frames

"""Graphs of native nodes, served over gRPC."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ovms_mp_clients import Client
from ovms_mp_clients.errors import ClientError

from ovms_mp.native.workers import POOL
from tests.native import graphs
from tests.wire import servers
from tests.wire.waiting import until

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("no_worker_left")]

POINTS = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], np.float32)
FRAME = np.zeros((48, 64, 3), np.uint8)


def repository(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / name).mkdir()
        (folder / name / "graph.pbtxt").write_text(text)
    listed = [{"name": name, "base_path": name} for name in texts]
    config = folder / "config.json"
    config.write_text(
        json.dumps({"model_config_list": [], "mediapipe_config_list": listed})
    )
    return config


def test_a_video_through_native_nodes_gives_what_mediapipe_gives(
    tmp_path: Path, hand_frames: list[np.ndarray]
) -> None:
    np.save(tmp_path / "frames.npy", np.stack(hand_frames))
    config = repository(tmp_path, hands=graphs.HANDS)
    answers = tmp_path / "answers.npy"
    given = (tmp_path / "hands" / "graph.pbtxt", tmp_path / "frames.npy", answers)
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("direct.py")), *map(str, given)],
        check=True,
        timeout=60,
    )
    served: list[np.ndarray] = []
    with (
        servers.serving(config) as server,
        Client(server.address) as client,
        client.stream("hands") as stream,
    ):
        for frame in hand_frames:
            stream.send({"image": frame})
            served.append(np.asarray(next(stream).outputs["matrix"]))
        stream.half_close()
        assert list(stream) == []
    expected = np.load(answers)
    assert expected.shape == (len(hand_frames), 3, 21)
    assert np.ptp(expected[:, 0, 0]) > 0  # it moves
    np.testing.assert_allclose(np.stack(served), expected, atol=1e-6)


def test_two_streams_of_a_graph_that_remembers_know_nothing_of_each_other(
    tmp_path: Path, hand_frames: list[np.ndarray]
) -> None:
    config = repository(tmp_path, hands=graphs.HANDS)
    with servers.serving(config) as server, Client(server.address) as client:

        def answers(frames: list[np.ndarray]) -> list[np.ndarray]:
            found: list[np.ndarray] = []
            with client.stream("hands") as stream:
                for frame in frames:
                    stream.send({"image": frame})
                    found.append(np.asarray(next(stream).outputs["matrix"]))
            return found

        alone = answers(hand_frames[:3])
        with client.stream("hands") as other:
            other.send({"image": hand_frames[-1]})
            next(other)
            beside = answers(hand_frames[:3])
    np.testing.assert_array_equal(np.stack(beside), np.stack(alone))


def test_a_native_abort_ends_its_stream_and_no_other(tmp_path: Path) -> None:
    config = repository(tmp_path, smoothed=graphs.SMOOTHED)
    whole = {"points": POINTS, "frame": FRAME}
    with servers.serving(config) as server, Client(server.address) as client:
        with client.stream("smoothed") as neighbour:
            neighbour.send(whole)
            next(neighbour)
            with client.stream("smoothed") as victim:
                # A timestamp with points and no frame: native code aborts.
                victim.send({"points": POINTS}, timestamp=1)
                victim.send({"frame": FRAME}, timestamp=2)
                with pytest.raises(ClientError) as failure:
                    list(victim)
            said = str(failure.value)
            assert "the native worker ended by SIGABRT" in said
            assert 'node "TensorConverterCalculator and 5 more"' in said
            assert "/" not in said
            neighbour.send(whole)
            assert np.asarray(next(neighbour).outputs["smooth"]).shape == (3, 2)
        with client.stream("smoothed") as later:
            later.send(whole)
            next(later)
        assert until(server.is_idle)


def test_a_worker_that_is_killed_ends_its_stream_and_the_next_one_works(
    tmp_path: Path,
) -> None:
    config = repository(tmp_path, smoothed=graphs.SMOOTHED)
    whole = {"points": POINTS, "frame": FRAME}
    with servers.serving(config) as server, Client(server.address) as client:
        with client.stream("smoothed") as stream:
            before = POOL.working
            stream.send(whole)
            next(stream)
            (pid,) = POOL.working - before
            os.kill(pid, signal.SIGKILL)
            stream.send(whole)
            with pytest.raises(ClientError, match="ended by SIGKILL"):
                list(stream)
        with client.stream("smoothed") as stream:
            stream.send(whole)
            next(stream)


def test_a_stream_that_is_cancelled_leaves_no_worker(tmp_path: Path) -> None:
    config = repository(tmp_path, smoothed=graphs.SMOOTHED)
    with servers.serving(config) as server, Client(server.address) as client:
        with client.stream("smoothed") as stream:
            stream.send({"points": POINTS, "frame": FRAME})
            next(stream)
            assert POOL.working
            stream.cancel()
        assert until(lambda: not POOL.working)


def test_a_server_that_is_killed_takes_its_workers_along(tmp_path: Path) -> None:
    config = repository(tmp_path, smoothed=graphs.SMOOTHED)
    with servers.Process(tmp_path, "--config_path", str(config)) as process:
        address = process.ready()
        with Client(address) as client, client.stream("smoothed") as stream:
            stream.send({"points": POINTS, "frame": FRAME})
            next(stream)
            workers = children(process.process.pid)
            assert len(workers) == 2  # one at work, one to spare
            process.process.kill()
            assert until(lambda: not any(map(is_running, workers)))


def children(pid: int) -> list[int]:
    """Of any thread of the process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    texts = [told(task / "children") for task in tasks]
    return [int(each) for text in texts for each in text.split()]


def is_running(pid: int) -> bool:
    status = told(Path(f"/proc/{pid}/stat"))
    return status != "" and " Z " not in status


def told(file: Path) -> str:
    """By /proc: of what has just ended, nothing."""
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""

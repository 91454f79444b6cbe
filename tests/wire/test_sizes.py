"""Large messages pass, too large ones are refused, and the server goes on."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc
import numpy as np
import pytest

from tests.wire import zoo
from tests.wire.calls import Stream, ask, infer, refusal, timestamp
from tests.wire.servers import Process, Server, serving
from tests.wire.waiting import until

MIB: Final = 1 << 20
UNLIMITED: Final = [
    (f"grpc.max_{way}_message_length", -1) for way in ("receive", "send")
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes messages of up to 1 MiB."""
    folder = tmp_path_factory.mktemp("small")
    zoo.add_graph(folder, "echo", zoo.ECHO)
    config = zoo.write_config(folder, [], [{"name": "echo"}])
    with serving(config, grpc_max_message_size=MIB) as server:
        yield server


def of(size: int) -> np.ndarray:
    return np.arange(size // 8, dtype=np.int64)


def test_a_large_tensor_goes_through_a_graph_unary_and_streamed(
    channel: grpc.Channel,
) -> None:
    array = of(48 * MIB)
    request = ask("echo", {"in": array}, at=7)
    answer = infer(channel, request)
    assert answer.raw_output_contents[0] == array.tobytes()
    assert timestamp(answer) == 7
    with Stream(channel, request) as stream:
        assert stream.answer().raw_output_contents[0] == array.tobytes()


def test_a_message_that_is_too_large_is_refused(small: Server) -> None:
    with small.connect() as channel:
        code, text = refusal(channel, ask("echo", {"in": of(MIB)}))
        assert code == "RESOURCE_EXHAUSTED"
        assert str(MIB) in text
        assert infer(channel, ask("echo", {"in": of(MIB - 1000)}))


def test_a_message_that_is_too_large_ends_its_own_stream(small: Server) -> None:
    fits = ask("echo", {"in": of(MIB // 2)})
    with (
        small.connect() as channel,
        Stream(channel, fits) as neighbour,
        Stream(channel, fits) as stream,
    ):
        assert timestamp(stream.answer()) == 0
        stream.send(ask("echo", {"in": of(2 * MIB)}))
        assert stream.end()[0] == "RESOURCE_EXHAUSTED"
        neighbour.send(fits)
        assert [timestamp(neighbour.answer()) for _ in range(2)] == [0, 1]
    assert until(small.is_idle)


def _faults(process: Process) -> int:
    """Pages that the kernel has had to find for it so far."""
    stat = Path(f"/proc/{process.process.pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[7])


def test_a_frame_comes_into_memory_that_the_last_one_had(tmp_path: Path) -> None:
    """Each of 6 MiB there and back would otherwise be mapped and cleared page by page,
    once and again.
    """
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    frame = of(6 * MIB)
    with (
        Process(tmp_path, "--config_path", str(config)) as process,
        grpc.insecure_channel(process.ready(), UNLIMITED) as channel,
    ):
        for _ in range(60):  # until each thread has what it needs
            infer(channel, ask("echo", {"in": frame}))
        before = _faults(process)
        for _ in range(20):
            infer(channel, ask("echo", {"in": frame}))
        pages = frame.nbytes // resource.getpagesize()
        assert (_faults(process) - before) / 20 < pages / 4

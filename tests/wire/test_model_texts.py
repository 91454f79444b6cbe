"""Texts that a model gives are those that it gave, however few and short they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import grpc
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import arrays, ask, connect, infer
from tests.wire.servers import Process


def some() -> ov.Model:
    """Gives the first `n` of the texts `x` as `y`, and n + 1 as `more`."""
    x = tiny.parameter("x", (-1,), ov.Type.string)
    n = tiny.parameter("n", (1,), np.int64)
    begin, step = (op.constant(np.array([each], np.int64)) for each in (0, 1))
    y = tiny.named(op.slice(x, begin, n, step), "y")
    return tiny.model([y, tiny.named(op.add(n, step), "more")], [x, n])


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    """To a process: there was a request that ended it."""
    folder = tmp_path_factory.mktemp("texts")
    home = zoo.add_model(folder, "some", some())
    flags = (
        "--model_name",
        "some",
        "--model_path",
        str(home),
        "--probe_models",
        "false",
    )
    with Process(folder, *flags) as process, connect(process.ready()) as channel:
        yield channel


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        pytest.param([b"a", b"bcd"], 2, id="all"),
        pytest.param([b"a", b"bcd"], 0, id="none"),
        pytest.param([b""], 1, id="an empty one"),
        pytest.param([b"", b"", b""], 3, id="empty ones"),
        pytest.param([b"", b"q", b""], 3, id="a letter between empty ones"),
        pytest.param([b"\xff"], 1, id="a byte that is no UTF-8"),
        pytest.param([b"a\0b", b""], 2, id="a zero byte"),
    ],
)
def test_texts_are_those_of_the_model(
    channel: grpc.Channel, texts: Sequence[bytes], count: int
) -> None:
    n = np.array([count], np.int64)
    # What memory held before is to be seen nowhere.
    for others in ([b"u", b"v", b"w"], [b"zyx" * 50]):
        infer(channel, ask("some", {"x": others, "n": np.array([3], np.int64)}))
        found = arrays(infer(channel, ask("some", {"x": texts, "n": n})))
        assert found == {"more": [count + 1], "y": list(texts[:count])}

"""Laws of a model that joins requests, seen from outside. Batches wait for an hour, so
that what is answered was answered because its batch was full.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import tritonclient.grpc as triton
from openvino import opset13 as op

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import (
    Answer,
    Request,
    Status,
    Stream,
    arrays,
    ask,
    infer,
    refusal,
    status_of,
)
from tests.wire.servers import Server, sample, serving
from tests.wire.waiting import until

SIZE = 6
AN_HOUR = 3_600_000_000
ROW = 32
BATCHING = {"max_batch_size": SIZE, "max_queue_delay_microseconds": AN_HOUR}


def layers() -> ov.Model:
    """y = three layers of x; each row for itself."""
    x = y = tiny.parameter("x", (-1, ROW))
    random = np.random.default_rng(3)
    for _ in range(3):
        weights = random.standard_normal((ROW, ROW)).astype(np.float32)
        y = op.tanh(op.matmul(y, op.constant(weights), False, False))
    return tiny.model([tiny.named(y, "y")], [x])


def fragile() -> ov.Model:
    """y = x, in as many columns as x has and its largest value more: whatever is joined
    to a value above 0 fails with it.
    """
    x = tiny.parameter("x", (-1, ROW))
    axes = op.constant(np.array([0, 1], np.int64))
    largest = op.convert(op.reduce_max(x, axes, keep_dims=False), np.int64)
    columns = op.add(op.constant(np.int64(ROW)), largest)
    zero = op.constant(np.array([0], np.int64))
    shape = op.concat(
        [op.constant(np.array([-1], np.int64)), op.unsqueeze(columns, zero)], 0
    )
    return tiny.model([tiny.named(op.reshape(x, shape, False), "y")], [x])


@pytest.fixture(scope="module")
def joining(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("joining")
    entries: list[Any] = []
    for name, made in {"layers": layers(), "fragile": fragile()}.items():
        zoo.add_model(folder, name, made)
        entries.append(zoo.entry(name, dynamic_batching=BATCHING))
    zoo.add_model(folder, "alone", layers())
    entries.append(zoo.entry("alone"))
    zoo.add_model(folder, "total", tiny.running_total())
    entries.append(zoo.entry("total", max_sequence_number=7))
    pbtxt = zoo.graph(
        ["OVTENSOR:in"],
        ["OVTENSOR:out"],
        zoo.session("layers"),
        zoo.inferring({"x": "in"}, {"y": "out"}),
    )
    zoo.add_graph(folder, "around", pbtxt)
    config = zoo.write_config(folder, entries, [{"name": "around"}])
    with serving(config) as server:
        yield server
        assert until(server.is_idle)


def rows(count: int, seed: int = 0) -> Any:
    values = np.random.default_rng(seed).standard_normal((count, ROW))
    return values.astype(np.float32)


def executions(server: Server, model: str) -> dict[int, int]:
    """How many there were, by their rows."""
    batches = server.app.catalog.model(model, "").statistics().batches
    return {each.size: each.compute_infer.count for each in batches}


def at_once(server: Server, requests: list[Request]) -> list[Answer | Status]:
    """An answer to each, or with what it fails."""
    with server.connect() as channel, ThreadPoolExecutor(len(requests)) as pool:

        def one(request: Request) -> Answer | Status:
            found: list[Answer] = []
            status = status_of(lambda: found.append(infer(channel, request)))
            return found[0] if found else status

        return list(pool.map(one, requests))


def test_each_client_gets_the_rows_that_he_gets_from_the_model_alone(
    joining: Server,
) -> None:
    before = executions(joining, "layers").get(SIZE, 0)
    parts = [rows(count, seed) for seed, count in enumerate((1, 2, 1, 2))]
    joined = at_once(joining, [ask("layers", {"x": each}) for each in parts])
    with joining.connect() as channel:
        alone = [infer(channel, ask("alone", {"x": each})) for each in parts]
    for found, expected in zip(joined, alone, strict=True):
        assert isinstance(found, Answer)
        one, other = arrays(found)["y"], arrays(expected)["y"]
        assert np.shape(one) == np.shape(other)
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert executions(joining, "layers")[SIZE] == before + 1


def test_unary_requests_streams_and_graphs_join_each_other(joining: Server) -> None:
    before = executions(joining, "layers").get(SIZE, 0)
    with joining.connect() as channel:
        first = ask("layers", {"x": rows(2)})
        others = [ask("around", {"in": rows(1)}) for _ in range(2)]
        with Stream(channel, first, first) as stream:
            answers = at_once(joining, others)
            assert all(isinstance(each, Answer) for each in answers)
            assert np.shape(arrays(stream.answer())["y"]) == (2, ROW)
            assert np.shape(arrays(stream.answer())["y"]) == (2, ROW)
    assert executions(joining, "layers")[SIZE] == before + 1


def test_a_request_that_makes_its_batch_fail_fails_alone(joining: Server) -> None:
    bad = np.zeros((1, ROW), np.float32)
    bad[0, 5] = 3
    parts = [*(-abs(rows(1, seed)) for seed in range(SIZE - 1)), bad]
    *good, failed = at_once(joining, [ask("fragile", {"x": each}) for each in parts])
    for found, part in zip(good, parts, strict=False):
        assert isinstance(found, Answer)
        np.testing.assert_array_equal(arrays(found)["y"], part)
    assert isinstance(failed, tuple)
    assert failed[0] == "INTERNAL"
    assert failed[1].startswith("Internal inference error")


def test_a_request_that_does_not_fit_joins_nobody(joining: Server) -> None:
    narrow = ask("layers", {"x": np.zeros((1, ROW - 1), np.float32)})
    with joining.connect() as channel:
        assert refusal(channel, narrow)[0] == "INVALID_ARGUMENT"
    assert joining.app.catalog.model("layers", "").waiting == 0


def test_a_request_whose_deadline_passes_leaves_the_queue(joining: Server) -> None:
    servable = joining.app.catalog.model("layers", "")
    with joining.connect() as channel:
        late = ask("layers", {"x": rows(1)})
        status = status_of(lambda: infer(channel, late, timeout=0.2))
    assert status[0] == "DEADLINE_EXCEEDED"
    assert until(lambda: servable.waiting == 0)
    before = executions(joining, "layers").get(SIZE, 0)
    full = [ask("layers", {"x": rows(SIZE // 2)}) for _ in range(2)]
    assert all(isinstance(each, Answer) for each in at_once(joining, full))
    assert executions(joining, "layers")[SIZE] == before + 1


def test_statistics_and_the_metric_tell_of_rows_and_batches(joining: Server) -> None:
    full = [ask("layers", {"x": rows(SIZE // 2)}) for _ in range(2)]
    at_once(joining, full)
    with triton.InferenceServerClient(joining.address) as client:
        told: Any = client.get_inference_statistics("layers")
    (stats,) = told.model_stats
    sizes = {each.batch_size: each.compute_infer.count for each in stats.batch_stats}
    assert sizes == executions(joining, "layers")
    assert stats.execution_count == sum(sizes.values())
    assert stats.inference_count == sum(size * n for size, n in sizes.items())
    assert stats.inference_stats.success.count > stats.execution_count
    page = joining.app.metrics.render().decode()
    about = {"name": "layers", "version": "1"}
    name = "ovms_mp_batch_size"
    assert sample(page, f"{name}_count", about) == stats.execution_count
    assert sample(page, f"{name}_sum", about) == stats.inference_count
    assert sample(page, f"{name}_bucket", {**about, "le": "4"}) == sum(
        n for size, n in sizes.items() if size <= 4
    )
    assert sample(page, f"{name}_count", {**about, "name": "alone"}) is None


def test_the_config_that_triton_asks_for_tells_of_batches_and_sequences(
    joining: Server,
) -> None:
    with triton.InferenceServerClient(joining.address) as client:
        ask_for: Any = client.get_model_config
        layers, total, alone = (
            ask_for(name).config for name in ("layers", "total", "alone")
        )
    assert layers.max_batch_size == SIZE
    assert layers.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert layers.dynamic_batching.max_queue_delay_microseconds == AN_HOUR
    assert list(layers.input[0].dims) == list(layers.output[0].dims) == [ROW]
    assert total.WhichOneof("scheduling_choice") == "sequence_batching"
    assert total.sequence_batching.oldest.max_candidate_sequences == 7
    assert total.sequence_batching.max_sequence_idle_microseconds == 300_000_000
    assert total.max_batch_size == 0
    assert alone.WhichOneof("scheduling_choice") is None
    assert (alone.max_batch_size, list(alone.input[0].dims)) == (0, [-1, ROW])


@pytest.mark.parametrize("batch_size", ["-1", f"1:{SIZE}"])
def test_a_model_for_one_row_is_opened_up_by_its_batch_size(
    tmp_path: Path, batch_size: str
) -> None:
    zoo.add_model(tmp_path, "one", tiny.add_one((1, 4)))
    entry = zoo.entry("one", batch_size=batch_size, dynamic_batching=BATCHING)
    with serving(zoo.write_config(tmp_path, [entry])) as server:
        parts = [np.full((1, 4), number, np.float32) for number in range(SIZE)]
        answers = at_once(server, [ask("one", {"x": each}) for each in parts])
        for found, part in zip(answers, parts, strict=True):
            assert isinstance(found, Answer)
            np.testing.assert_array_equal(arrays(found)["y"], part + 1)
        assert executions(server, "one") == {SIZE: 1}


def words() -> ov.Model:
    """Texts as they come."""
    x = tiny.parameter("x", (-1,), ov.Type.string)
    return tiny.model([op.result(x)], [x])


def test_texts_are_joined_as_numbers_are(tmp_path: Path) -> None:
    zoo.add_model(tmp_path, "texts", words())
    entry = zoo.entry("texts", dynamic_batching=BATCHING)
    said = [f"word {'x' * number}" for number in range(SIZE)]
    with serving(zoo.write_config(tmp_path, [entry])) as server:
        asked = [ask("texts", {"x": [word.encode()]}) for word in said]
        answers = at_once(server, asked)
        for found, word in zip(answers, said, strict=True):
            assert isinstance(found, Answer), found
            (told,) = arrays(found).values()
            assert told == [word.encode()], told


AUTO = "not with a shape or batch_size of auto; -1 will do"
NOT_JOINED: Mapping[str, tuple[ov.Model, Mapping[str, str], str]] = {
    "static": (
        tiny.add_one((1, 4)),
        {},
        "the first dimension of input x is not free for batches of 1 to 4",
    ),
    "stateful": (tiny.running_total(), {}, "the model has a state"),
    "auto_shape": (tiny.add_one((-1, 4)), {"shape": "auto"}, AUTO),
    "auto_batch": (tiny.add_one((-1, 4)), {"batch_size": "auto"}, AUTO),
}


@pytest.mark.parametrize("name", NOT_JOINED)
def test_a_model_that_cannot_join_requests_is_left_out_and_says_why(
    tmp_path: Path, name: str
) -> None:
    made, keys, reason = NOT_JOINED[name]
    zoo.add_model(tmp_path, name, made)
    entries = [zoo.entry(name, dynamic_batching={"max_batch_size": 4}, **keys)]
    with serving(zoo.write_config(tmp_path, entries)) as server:
        assert server.said(f"dynamic_batching: {reason}")
        assert server.said("serving: nothing")
        assert "ovms_mp_batch_size" not in server.app.metrics.render().decode()

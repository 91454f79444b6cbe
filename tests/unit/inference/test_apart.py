"""A model that a process of its own compiled is the same model."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op
from openvino_tokenizers import build_rwkv_tokenizer

from ovms_mp.core.adaptation import parse
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.tensor import Array
from ovms_mp.inference.apart import LARGEST, SMALLEST, Apart
from ovms_mp.inference.engine import ModelConfig, NameMapping
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.inference.openvino.reading import weights_of
from ovms_mp.inference.state import State, infer_from
from tests.unit.inference import tiny
from tests.unit.inference.stand_ins import HURRIES, PATIENCE

# A short model is compiled once more, for one thread, unless the config says something.
EXACT = replace(tiny.EXACT, nireq=2)

APART = "was compiled apart"
HERE = "is compiled in the server, not apart"


def convolutions() -> ov.Model:
    """With some rounding to it, and two outputs, of which one has no name."""
    x = y = tiny.parameter("x", (1, 8, 16, 16))
    random = np.random.default_rng(0)
    for _ in range(3):
        weights = op.constant(random.standard_normal((8, 8, 3, 3)).astype(np.float32))
        y = op.relu(op.convolution(y, weights, [1, 1], [1, 1], [1, 1], [1, 1]))
    return tiny.model([tiny.named(y, "y"), op.reduce_sum(y, op.constant([1]))], [x])


def images() -> ov.Model:
    x = tiny.parameter("x", (1, 3, 4, 4))
    y = op.multiply(x, op.constant(np.array(1 / 3, np.float32)))
    return tiny.model([tiny.named(y, {"y", "other"})], [x])


CASES: dict[str, tuple[ov.Model, ModelConfig, tuple[int, ...]]] = {
    "convolutions": (convolutions(), EXACT, (1, 8, 16, 16)),
    "convolutions of two streams": (
        convolutions(),
        replace(EXACT, plugin_config={**EXACT.plugin_config, "NUM_STREAMS": 2}),
        (1, 8, 16, 16),
    ),
    "of any length": (tiny.total((-1, (2, 8))), EXACT, (3, 5)),
    "reshaped": (
        tiny.total((-1, -1)),
        replace(EXACT, adaptation=parse({"shape": "(2,7)"})),
        (2, 7),
    ),
    "auto": (
        tiny.add_one((1, 10)),
        replace(EXACT, adaptation=parse({"shape": "auto"})),
        (4, 3),
    ),
    "adapted": (
        images(),
        replace(
            EXACT,
            adaptation=parse(
                {
                    "layout": {"x": "NHWC:NCHW"},
                    "mean": "[1,2,3]",
                    "color_format": "BGR:RGB",
                }
            ),
            names=NameMapping({}, {"y": "public"}),
        ),
        (1, 4, 4, 3),
    ),
}


@pytest.fixture
def engine(stand_in: Callable[[str], str]) -> Iterator[OpenVINOEngine]:
    module = stand_in(HURRIES)
    engine = OpenVINOEngine(
        apart=Apart(smallest=0, module=module, look_seconds=PATIENCE)
    )
    yield engine
    engine.close()


def outputs(model: Any, tensors: list[Array], times: int = 1) -> list[tuple[Any, ...]]:
    given: list[tuple[Any, ...]] = []
    for _ in range(times):
        answer = model.infer(tensors).result(60).outputs
        given.append(tuple((each.dtype, each.shape, each.tobytes()) for each in answer))
    return given


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_was_compiled_apart_is_the_same_bit_by_bit(
    engine: OpenVINOEngine,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    case: str,
) -> None:
    caplog.set_level(logging.INFO)
    made, config, shape = CASES[case]
    path = tiny.save(tmp_path, made)
    here = engine.load(path, config)
    assert APART not in caplog.text
    apart = engine.load(path, config, beside=True)
    assert APART in caplog.text
    assert HERE not in caplog.text
    assert list(apart.inputs) == list(here.inputs)
    assert list(apart.outputs) == list(here.outputs)
    assert apart.model_info == here.model_info
    assert (apart.slots, apart.streams) == (here.slots, here.streams)
    tensor = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    assert outputs(apart, [tensor]) == outputs(here, [tensor])
    apart.close()
    here.close()


@pytest.mark.parametrize("config", [EXACT, replace(EXACT, low_latency=True)])
@pytest.mark.parametrize("made", [tiny.running_total(), tiny.looped(1)])
def test_what_a_model_remembers_it_remembers_the_same_way(
    engine: OpenVINOEngine, tmp_path: Path, config: ModelConfig, made: ov.Model
) -> None:
    path = tiny.save(tmp_path, made)
    loaded = [engine.load(path, config, beside=beside) for beside in (False, True)]
    assert loaded[0].is_stateful == loaded[1].is_stateful
    (port,) = loaded[0].inputs
    assert port.shape is not None
    x = np.full([each.minimum for each in port.shape], 1.5, np.float32)
    states = [State() if each.is_stateful else None for each in loaded]
    for _ in range(3):
        here, apart = (
            infer_from(state, [x], model.infer).result(60).outputs
            for state, model in zip(states, loaded, strict=True)
        )
        assert [each.tobytes() for each in here] == [each.tobytes() for each in apart]
    for model in loaded:
        model.close()


def test_operations_on_texts_are_known_to_the_process(
    engine: OpenVINOEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    words = [f"{n} {word!r} {len(word)}" for n, word in enumerate(("ab", "c"), 1)]
    tokens, texts = (
        engine.load(tiny.save(tmp_path, made, name), EXACT, beside=True)
        for name, made in zip(("to", "back"), build_rwkv_tokenizer(words), strict=True)
    )
    assert caplog.text.count(APART) == 2
    said = np.array([b"abc", b"c"], object)
    answer = tokens.infer([said]).result(60).outputs
    numbers = answer[[port.name for port in tokens.outputs].index("input_ids")]
    assert numbers.tolist() == [[1, 2], [2, 0]]
    (back,) = texts.infer([numbers]).result(60).outputs
    assert back.tolist() == [b"abc", b"c"]
    tokens.close()
    texts.close()


def test_a_model_that_is_refused_is_refused_in_the_same_words(
    engine: OpenVINOEngine, tmp_path: Path
) -> None:
    path = tiny.save(tmp_path, tiny.add_one())
    config = ModelConfig(plugin_config={"NUM_STREAMS": "many"})
    said: list[tuple[Status, str]] = []
    for beside in (False, True):
        with pytest.raises(ServingError) as caught:
            engine.load(path, config, beside=beside)
        said.append((caught.value.status, caught.value.text))
    assert said[0] == said[1]
    assert said[0][0] is Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE


@pytest.mark.parametrize(
    ("smallest", "device", "cache"),
    [(0, "AUTO:CPU", ""), (0, "CPU", "cache"), (SMALLEST, "CPU", "")],
)
def test_of_another_device_or_from_a_cache_or_small_it_is_compiled_in_the_server(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    smallest: int,
    device: str,
    cache: str,
) -> None:
    caplog.set_level(logging.INFO)
    engine = OpenVINOEngine(
        cache_dir=tmp_path / cache if cache else None, apart=Apart(smallest=smallest)
    )
    path = tiny.save(tmp_path, tiny.add_one())
    engine.load(path, replace(EXACT, target_device=device), beside=True).close()
    engine.close()
    assert APART not in caplog.text
    assert HERE not in caplog.text


def test_it_is_for_models_of_some_size_and_where_there_is_room_beside() -> None:
    apart = Apart()
    assert weights_of(tiny.add_one()) == 4
    allowed = os.sched_getaffinity(0)
    sizes = SMALLEST - 1, SMALLEST, LARGEST, LARGEST + 1
    if len(allowed) > 1:
        assert [apart.takes(each) for each in sizes] == [False, True, True, False]
    os.sched_setaffinity(0, {min(allowed)})  # of this thread
    try:
        assert not any(map(apart.takes, sizes))
    finally:
        os.sched_setaffinity(0, allowed)

"""Threads that infer go where there is room, unless a model's config binds them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from ovms_mp.inference.engine import ModelConfig, Property
from ovms_mp.inference.openvino import OpenVINOEngine
from tests.unit.inference import tiny

ENOUGH = 20
_EVERY_CORE = os.sched_getaffinity(0)
_ONE_THREAD = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}


@pytest.fixture
def engine() -> Iterator[OpenVINOEngine]:
    engine = OpenVINOEngine()
    yield engine
    engine.close()


def cores_of_who_infers(
    engine: OpenVINOEngine, folder: Path, given: Mapping[str, Property]
) -> list[set[int]]:
    """Those that the thread may use, as often as one could look while it inferred."""
    path = tiny.save(folder, tiny.slow(steps=24))
    model = engine.load(path, ModelConfig(plugin_config=given))
    seen: list[set[int]] = []
    while len(seen) < ENOUGH:  # who has no processor does not look, for a while
        asked = model.infer([np.zeros((512, 512), np.float32)])
        while not asked.is_settled:
            seen += [
                os.sched_getaffinity(thread.native_id)
                for thread in threading.enumerate()
                if thread.name.startswith("inference") and thread.native_id
            ]
            time.sleep(0.001)
        asked.result(60)
    model.close()
    return seen


@pytest.mark.parametrize("given", [{}, _ONE_THREAD])
def test_who_infers_may_use_every_core(
    engine: OpenVINOEngine, tmp_path: Path, given: Mapping[str, Property]
) -> None:
    """OpenVINO by itself binds the first thread of each model to the first core: two
    models at a time would share it.
    """
    seen = cores_of_who_infers(engine, tmp_path, given)
    assert seen
    assert all(each == _EVERY_CORE for each in seen)


def test_a_config_may_bind_threads_to_cores(
    engine: OpenVINOEngine, tmp_path: Path
) -> None:
    given = {**_ONE_THREAD, "ENABLE_CPU_PINNING": True}
    seen = cores_of_who_infers(engine, tmp_path, given)
    assert any(len(each) == 1 for each in seen)

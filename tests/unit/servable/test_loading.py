"""A version that is loaded has inferred: who asks first pays for nothing that could have
been done before, and loading does nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ovms_mp.core.shape import Dim
from ovms_mp.core.threads import Threads
from ovms_mp.inference.engine import TRIAL_SECONDS, ModelConfig
from ovms_mp.inference.model import PooledModel
from ovms_mp.repository.config import DynamicBatching, ModelSpec
from ovms_mp.servable.catalog import Catalog
from ovms_mp.servable.loading import WARM_UP_SECONDS, Loader
from ovms_mp.telemetry.metrics import Metrics
from tests.unit.inference.slots import STATIC, SlowSlot, ports

LONG = 10**9


class Slots:
    """An Engine of one model, of the shape and the slot that the test says."""

    def __init__(self, shape: tuple[Dim, ...]) -> None:
        self.slot = SlowSlot(LONG)
        self.warm_up = 0.0
        self._shape = shape
        self._threads = Threads("inference")

    def load(
        self,
        path: Path,
        config: ModelConfig,
        *,
        warm_up: float = TRIAL_SECONDS,
        beside: bool = False,
    ) -> PooledModel:
        self.warm_up = warm_up
        one = ports(self._shape)
        model = PooledModel(one, one, [self.slot], self._threads)
        model.try_out(warm_up)
        return model

    def abandon(self) -> None:
        """Nothing takes it long."""

    def close(self) -> None:
        self._threads.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def load(engine: Slots, pool: ThreadPoolExecutor, folder: Path, most: int) -> None:
    (folder / "model.onnx").write_text("of an engine of the test's own")
    batching = DynamicBatching(most) if most else None
    metrics = Metrics.off()
    loader = Loader(
        Catalog(metrics), engine=engine, submit=pool.submit, metrics=metrics
    )
    spec = ModelSpec("m", folder, dynamic_batching=batching)
    loader.version(spec, 1, folder).close()
    engine.close()


@pytest.mark.parametrize("most", [0, 1])
def test_a_model_of_one_shape_infers_once_and_is_waited_for(
    tmp_path: Path, pool: ThreadPoolExecutor, most: int
) -> None:
    engine = Slots(STATIC)
    load(engine, pool, tmp_path, most)
    assert engine.slot.count == 1
    assert engine.warm_up == WARM_UP_SECONDS


def test_a_model_of_batches_infers_once_from_each_number_of_rows(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    engine = Slots((Dim(1, -1), Dim(10, 10)))
    load(engine, pool, tmp_path, 4)
    assert engine.slot.count == 4

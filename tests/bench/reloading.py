"""From a graph's changed file to the new graph being served, against what it takes to
load the same file without a server.

    python -m tests.bench.reloading
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, Final

from ovms_mp import Graph
from ovms_mp.library.models import ModelSet
from ovms_mp.repository.config import ModelSpec, read
from tests.bench.runtime import Ratio
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.servers import serving

GATE: Final = "2"


def rows(rounds: int = 5) -> list[dict[str, Any]]:
    """One row, as those of `runtime.measure`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = _lay_out(folder)
        pbtxt = folder / "graph" / "graph.pbtxt"
        text, numbers = pbtxt.read_text(), count()
        with serving(config) as server, closing(ModelSet({}, _specs(config))) as models:
            # The server has its model, too, before the graph changes.
            session = models.session("model", "")

            def reloaded() -> float:
                pbtxt.write_text(f"{text}# {next(numbers)}\n")
                begun = time.perf_counter()
                report = server.app.reload()
                seconds = time.perf_counter() - begun
                assert report.is_ok and report.has_changed
                return seconds

            def loaded() -> float:
                begun = time.perf_counter()
                Graph.load(pbtxt, models={"model": session}).close()
                return time.perf_counter() - begun

            ratio = Ratio(
                "a graph with a tiny model is reloaded",
                lambda: (reloaded() * 1e3, loaded() * 1e3),
                "ms",
                GATE,
            )
            ratio.rounds += [ratio.measure() for _ in range(rounds)]
    return [ratio.row]


def _specs(config: Path) -> dict[str, ModelSpec]:
    return {spec.name: spec for spec in read(config).models}


def _lay_out(folder: Path) -> Path:
    for path in ("model/1", "graph"):
        (folder / path).mkdir(parents=True)
    tiny.save(folder / "model" / "1", tiny.add_one())
    inferring = zoo.inferring({"x": "in"}, {"y": "out"})
    (folder / "graph" / "graph.pbtxt").write_text(
        zoo.graph(["in"], ["out"], zoo.session("model"), inferring)
    )
    config = folder / "config.json"
    config.write_text(
        json.dumps(
            {
                "model_config_list": [
                    {"config": {"name": "model", "base_path": "model"}}
                ],
                "mediapipe_config_list": [{"name": "graph"}],
            }
        )
    )
    return config


if __name__ == "__main__":
    for row in rows():
        print(row)

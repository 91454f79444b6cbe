"""What is compiled once is read at the next start; libraries bring operations."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from ovms_mp.core.adaptation import parse
from ovms_mp.core.errors import ServingError
from ovms_mp.core.tensor import Array
from ovms_mp.inference.engine import CompiledModel, ModelConfig
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.inference.openvino.caching import alone_in
from tests.unit.inference import tiny
from tests.unit.inference.slots import await_

# Without a number, short models are compiled twice.
ONCE = ModelConfig(plugin_config=tiny.EXACT.plugin_config, nireq=1)


def test_a_cache_is_filled_by_one_engine_and_read_by_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path, cache = tiny.save(tmp_path, tiny.slow(4, 64)), tmp_path / "cache"
    sent = np.ones((64, 64), np.float32)
    answers: list[Array] = []
    blobs: list[dict[str, int]] = []
    for _ in range(2):
        engine = OpenVINOEngine(cache_dir=cache)
        model = engine.load(path, ONCE)
        answers.append(model.infer([sent]).result(60).outputs[0])
        blobs.append({each.name: each.stat().st_mtime_ns for each in cache.iterdir()})
        assert ("was found in the cache" in caplog.text) is (len(blobs) == 2)
        model.close()
        engine.close()
    assert blobs[0]
    assert blobs[0] == blobs[1]
    assert np.array_equal(answers[0], answers[1])


def test_a_model_for_what_comes_is_cached_only_if_that_is_allowed(
    tmp_path: Path,
) -> None:
    path, cache = tiny.save(tmp_path, tiny.add_one()), tmp_path / "cache"
    for allowed in (False, True):
        engine = OpenVINOEngine(cache_dir=cache)
        config = ModelConfig(adaptation=parse({"shape": "auto"}), allow_cache=allowed)
        engine.load(path, config).close()
        assert (cache.is_dir() and any(cache.iterdir())) is allowed
        engine.close()


def test_a_cache_that_is_broken_is_made_anew(tmp_path: Path) -> None:
    path, cache = tiny.save(tmp_path, tiny.add_one()), tmp_path / "cache"
    x = np.ones((1, 10), np.float32)
    for _ in range(2):
        engine = OpenVINOEngine(cache_dir=cache)
        model = engine.load(path, ONCE)
        assert np.array_equal(model.infer([x]).result(60).outputs[0], x + 1)
        model.close()
        engine.close()
        for blob in cache.iterdir():
            blob.write_bytes(b"rubbish" * 100)


def tokenizers() -> Path:
    folder = Path(sys.modules["openvino"].__file__ or "").parent.parent
    return folder / "openvino_tokenizers/lib/libopenvino_tokenizers.so"


def test_an_extension_is_a_library_of_operations(tmp_path: Path) -> None:
    OpenVINOEngine(extension=tokenizers()).close()
    for bad in (tmp_path / "text.so", tmp_path / "absent.so"):
        (tmp_path / "text.so").write_text("no library")
        with pytest.raises(ServingError, match=f"{bad.name} is no extension") as caught:
            OpenVINOEngine(extension=bad)
        assert str(tmp_path) not in caught.value.text


def waits_for(folder: Path) -> bool:
    """Whether somebody waits until he is alone in the folder."""
    inode = f":{folder.stat().st_ino} "
    lines = Path("/proc/locks").read_text().splitlines()
    return any("-> FLOCK" in line and inode in line for line in lines)


def test_a_cache_has_one_user_at_a_time(tmp_path: Path) -> None:
    """OpenVINO writes to the file that others may map: who looks waits."""
    path, cache = tiny.save(tmp_path, tiny.add_one()), tmp_path / "cache"
    engine = OpenVINOEngine(cache_dir=cache)
    engine.load(path, ONCE).close()
    (blob,) = cache.iterdir()
    loaded: list[CompiledModel] = []
    loading = threading.Thread(target=lambda: loaded.append(engine.load(path, ONCE)))
    with alone_in(cache):
        loading.start()
        await_(lambda: waits_for(cache))
        content = blob.read_bytes()
        blob.chmod(0o600)
        blob.write_bytes(
            content[:100]
        )  # half of it, as who writes leaves it for a while
        assert waits_for(cache)
        assert not loaded
        blob.write_bytes(content)
    loading.join(60)
    (model,) = loaded
    assert blob.read_bytes() == content  # or it would have been written anew
    model.close()
    engine.close()

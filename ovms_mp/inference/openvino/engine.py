"""A model file becomes a compiled model, on as many threads as do it good."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov

from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.core.shape import Dim
from ovms_mp.core.threads import Threads
from ovms_mp.inference.apart import Apart
from ovms_mp.inference.engine import (
    TRIAL_SECONDS,
    Borrow,
    CompiledModel,
    ModelConfig,
    Ports,
    Property,
    file_name,
)
from ovms_mp.inference.model import PooledModel, Slot
from ovms_mp.inference.openvino.adapting import open_up, partial_shape, reshape
from ovms_mp.inference.openvino.caching import alone_in
from ovms_mp.inference.openvino.info import info_of
from ovms_mp.inference.openvino.ports import ports_of
from ovms_mp.inference.openvino.reading import Reading, as_wanted, weights_of
from ovms_mp.inference.openvino.slot import InferSlot
from ovms_mp.inference.openvino.text import reason, text_of
from ovms_mp.inference.plugin_config import (
    AUTO_DEVICE,
    CACHE_DIR,
    FROM_CACHE,
    MADE_OF_OTHERS,
    MMAP,
    PINNING,
    STREAMS,
    THREADS,
    UnsupportedProperty,
    device_names,
    effective,
    leaves_threads_open,
)
from ovms_mp.inference.probe import Probe
from ovms_mp.inference.reshaping import ReshapingModel, Shapes
from ovms_mp.inference.state import StatefulSlot

# A short inference that shares its work with a second thread waits for that to wake up.
_ONE_THREAD: Final[Mapping[str, Property]] = {THREADS: 1}
# Of a short model that two threads ask at a time, none is to wait for the other.
_SLOTS_OF_SHORT: Final = 2
# What measures the same is the same.
_TOLERANCE: Final = 1.1

_NO_PROPERTIES: Final[Mapping[str, Property]] = {}

# Of smaller ones, to ask for them costs more than it saves.
SHARED_FROM: Final = 1 << 20
"""Bytes of weights."""

_log = logging.getLogger(__name__)


class OpenVINOEngine:
    """Loads models into one ov.Core, if a `probe` finds that they can be read without
    harm. Thread-safe.

    `extension` is a library with operations that models may have beside OpenVINO's and
    those of openvino_tokenizers; compiled models are kept in `cache_dir`, to be found
    there at the next start. Raises ServingError if one of the two cannot be used.

    `share` processes like this one use the machine at a time: a model on the CPU has as
    many of its cores as come to one, unless its config says how many threads. Large
    weights of an IR are had from all of them by `borrow`. What is loaded beside requests
    may be compiled `apart`, which knows the same extension.
    """

    def __init__(
        self,
        probe: Probe | None = None,
        *,
        extension: Path | None = None,
        cache_dir: Path | None = None,
        share: int = 1,
        borrow: Borrow | None = None,
        apart: Apart | None = None,
    ) -> None:
        # By itself OpenVINO binds the thread that asks to a core while it infers, for each
        # model and in each process to the same one, while another may be idle.
        self._on_cpu: dict[str, Property] = {PINNING: False}
        if share > 1:
            cores = len(os.sched_getaffinity(0))
            self._on_cpu[THREADS] = max(1, cores // share)
        self._reading = Reading(extension)
        self._core = self._reading.core
        self._cache_dir = cache_dir
        self._borrow = borrow
        self._apart = apart
        self._threads = Threads("inference")
        self._probe = probe

    def load(
        self,
        path: Path,
        config: ModelConfig,
        *,
        warm_up: float = TRIAL_SECONDS,
        beside: bool = False,
    ) -> CompiledModel:
        """See engine.Engine."""
        _check_file(path)
        properties = self._properties(path, config)
        if self._probe is not None:
            self._probe.check(path)
        status = Status.MODEL_NOT_LOADED
        try:
            with ExitStack() as held:
                mapping = properties.pop(MMAP, None)  # it is not for compiling
                lent = self._lent(path, properties, held) if mapping is None else None
                mapping = mapping or lent is not None
                read = self._reading.read(path, {MMAP: mapping}, lent)
                model = as_wanted(read, config, path)
                status = Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE
                # Weights that are mapped are those of other processes, too: to have them
                # from one that compiles would be to have them once more.
                is_apart = beside and not mapping
                is_apart = is_apart and self._is_for_apart(model, config, properties)
                source = path if is_apart else None
                loaded = self._compile_well(model, config, properties, warm_up, source)
                loaded.when_closed(held.pop_all().close)
            if not config.adaptation.is_auto:
                return loaded
            return self._reshaping(loaded, model, config, properties)
        except ServingError as error:
            details = f"{file_name(path)}: {error.details}".removesuffix(": ")
            raise ServingError(error.status, details) from error
        except Exception as error:  # whatever a foreign file made a reader do
            raise _load_error(status, path, error) from error

    def _lent(
        self, path: Path, properties: Mapping[str, Property], held: ExitStack
    ) -> Path | None:
        """A file of the model's weights that OpenVINO may map, `held` then.

        Weights that are mapped change under a model that serves, when somebody writes
        to their file: they are read, unless the config wants otherwise, or there is one
        that nobody can write to. Those of a model in a cache are not needed any more
        when it is found there.
        """
        if self._borrow is None or CACHE_DIR in properties:
            return None
        weights = path.with_suffix(".bin")
        if path.suffix != ".xml" or _size(weights) < SHARED_FROM:
            return None
        return held.enter_context(self._borrow(weights))

    def _reshaping(
        self,
        base: PooledModel,
        model: ov.Model,
        config: ModelConfig,
        properties: Mapping[str, Property],
    ) -> ReshapingModel:
        try:
            if base.is_stateful:
                details = "a model with a state cannot have shape or batch_size auto"
                raise ServingError(Status.MODEL_NOT_LOADED, details)
            inputs = open_up(base.inputs, config.adaptation)
        except ServingError:
            base.close()
            raise

        def compile_for(shapes: Shapes) -> PooledModel:
            other = model.clone()
            ports = zip(other.inputs, shapes, strict=True)
            wanted = {port: shape for port, shape in ports if shape is not None}
            reshape(
                other,
                {
                    port: partial_shape(Dim(length, length) for length in shape)
                    for port, shape in wanted.items()
                },
            )
            return self._compile_well(other, config, properties)

        return ReshapingModel(
            base,
            inputs,
            compile_for,
            self._threads,
            max_queue_length=config.max_queue_length,
        )

    def _compile_well(
        self,
        model: ov.Model,
        config: ModelConfig,
        properties: Mapping[str, Property],
        warm_up: float = TRIAL_SECONDS,
        source: Path | None = None,
    ) -> PooledModel:
        """If the model is short, and the config does not say how many threads it is to
        have, it gets one, unless that is slower. With a `source` it is compiled apart.
        """
        loaded = self._compile(model, config, properties, warm_up, source)
        if loaded.is_short and leaves_threads_open(config):
            config = replace(config, nireq=max(loaded.slots, _SLOTS_OF_SHORT))
            alone = {**properties, **_ONE_THREAD}
            single = self._compile(model, config, alone, warm_up, source)
            if single.pace < loaded.pace * _TOLERANCE:
                return single
        return loaded

    def _compile(
        self,
        model: ov.Model,
        config: ModelConfig,
        properties: Mapping[str, Property],
        warm_up: float,
        source: Path | None,
    ) -> PooledModel:
        cache = properties.get(CACHE_DIR)
        compiled = source and self._compiled_apart(source, config, properties)
        if compiled is None:
            with alone_in(Path(str(cache)) if cache else None):
                compiled = self._core.compile_model(
                    model, config.target_device, dict(properties)
                )
        names = config.names
        inputs = ports_of(model.inputs, compiled.inputs, "in", names.inputs)
        outputs = ports_of(model.outputs, compiled.outputs, "out", names.outputs)
        remembers = bool(model.get_variables())
        if cache and compiled.get_property(FROM_CACHE):
            _log.info("model %s was found in the cache", model.get_friendly_name())
        count = config.nireq or compiled.get_property(
            "OPTIMAL_NUMBER_OF_INFER_REQUESTS"
        )
        made = PooledModel(
            inputs,
            outputs,
            [
                _slot(compiled.create_infer_request(), inputs, outputs, remembers)
                for _ in range(count)
            ],
            self._threads,
            streams=_streams(compiled),
            max_queue_length=config.max_queue_length,
            model_info=info_of(model),
        )
        made.try_out(warm_up)
        return made

    def _is_for_apart(
        self, model: ov.Model, config: ModelConfig, properties: Mapping[str, Property]
    ) -> bool:
        """Where there is a cache, there is often nothing to compile."""
        return (
            self._apart is not None
            and config.target_device == "CPU"
            and CACHE_DIR not in properties
            and self._apart.takes(weights_of(model))
        )

    def _compiled_apart(
        self, path: Path, config: ModelConfig, properties: Mapping[str, Property]
    ) -> ov.CompiledModel | None:
        """None if that came to nothing. Raises ServingError as Apart does."""
        assert self._apart is not None
        blob = self._apart.compiled(path, config, properties)
        if blob is None:
            return None
        # OpenVINO may keep it, and owns it: to copy it needs no interpreter, and to read
        # it from a stream does.
        copy = ov.Tensor(ov.Type.u8, ov.Shape([len(blob)]))
        copy.data[:] = np.frombuffer(blob, np.uint8)
        untyped: Any = self._core  # no types in its stub
        device = config.target_device
        try:
            made: ov.CompiledModel = untyped.import_model(
                copy, device, dict(properties)
            )
        except RuntimeError as error:
            name = file_name(path)
            _log.warning("%s was compiled apart in vain: %s", name, text_of(error))
            return None
        return made

    def abandon(self) -> None:
        """See engine.Engine."""
        if self._apart is not None:
            self._apart.close()
        if self._probe is not None:
            self._probe.abandon()

    def close(self) -> None:
        """See engine.Engine."""
        self.abandon()
        self._threads.close()

    def _properties(self, path: Path, config: ModelConfig) -> dict[str, Property]:
        supported: set[str] = set()
        self._check_devices(path, config.target_device)
        try:
            for device in device_names(config.target_device):
                supported |= set(
                    self._core.get_property(device, "SUPPORTED_PROPERTIES")
                )
            defaults = self._on_cpu if config.target_device == "CPU" else _NO_PROPERTIES
            properties = effective(config.plugin_config, supported, defaults)
        except RuntimeError as error:
            status = Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE
            raise _load_error(status, path, error) from error
        except UnsupportedProperty as error:
            raise _load_error(Status.MODEL_NOT_LOADED, path, error) from error
        is_cached = config.allow_cache or not config.adaptation.is_auto
        if self._cache_dir is not None and is_cached:
            properties[CACHE_DIR] = str(self._cache_dir)
        return properties

    def _check_devices(self, path: Path, target_device: str) -> None:
        """AUTO takes what there is, of others all must be there."""
        available: list[str] = self._core.available_devices
        names = device_names(target_device)
        absent = (
            set(names) - MADE_OF_OTHERS - {each.partition(".")[0] for each in available}
        )
        if absent and names[0] != AUTO_DEVICE:
            raise ServingError(
                Status.CANNOT_COMPILE_MODEL_INTO_TARGET_DEVICE,
                f"{file_name(path)}: no device {', '.join(sorted(absent))}; "
                f"available: {', '.join(available)}",
            )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _slot(
    request: ov.InferRequest, inputs: Ports, outputs: Ports, remembers: bool
) -> Slot:
    slot = InferSlot(request, inputs, outputs)
    if not remembers:  # some devices made of others cannot be asked
        return slot
    return StatefulSlot(slot, request.reset_state, request.query_state())


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
    # The line that says what is not served, and why, is the loader's.
    _log.info("loading %s failed: %s", path, text_of(error))
    return ServingError(status, public_text(f"{file_name(path)}: {reason(error)}"))

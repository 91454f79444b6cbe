"""The models of a graph without a server: files, folders, or objects of the caller."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.core.pending import Pending
from ovms_mp.inference.engine import ByName, ModelConfig, NameMapping
from ovms_mp.repository import config as repository
from ovms_mp.repository import models as files
from ovms_mp.repository.config import ModelSpec
from ovms_mp.repository.versions import select

if TYPE_CHECKING:
    from ovms_mp.calculator.services import InferenceSession, Models
    from ovms_mp.core.messages import TensorInfo
    from ovms_mp.core.tensor import Array
    from ovms_mp.inference.engine import CompiledModel, Engine, Inferred, Ports

Source: TypeAlias = "InferenceSession | Path | str"
"""A session, a model file, or a folder of version folders."""

ModelSource: TypeAlias = "Mapping[str, Source] | Path | str | Models"
"""Models by name; or an OVMS config.json, or a folder that has one, or a folder whose
folders are models; or who has them already."""

CONFIG_FILE: Final = "config.json"


class FunctionModel:
    """An InferenceSession around a function of arrays by name, which is called in the
    thread that asks. What it raises fails the inference.

        FunctionModel(lambda tensors: {"out": tensors["in"] * 2})

    `inputs` and `outputs` tell names, datatypes and shapes (-1: any) to calculators
    that want to know; most do not.
    """

    def __init__(
        self,
        function: Callable[[Mapping[str, Array]], Mapping[str, Array]],
        *,
        name: str = "function",
        inputs: Sequence[TensorInfo] = (),
        outputs: Sequence[TensorInfo] = (),
    ) -> None:
        self.name: str = name
        self.inputs: tuple[TensorInfo, ...] = tuple(inputs)
        self.outputs: tuple[TensorInfo, ...] = tuple(outputs)
        self.slots: int = 1
        self._function = function

    def infer(self, tensors: Mapping[str, Array]) -> Pending[Mapping[str, Array]]:
        """See InferenceSession."""
        answer: Pending[Mapping[str, Array]] = Pending()
        try:
            answer.complete(self._function(tensors))
        except Exception as error:
            text = public_text(f"{type(error).__name__}: {error}")
            failed = ServingError(Status.OV_INTERNAL_INFERENCE_ERROR, text)
            failed.__cause__ = error
            answer.fail(failed)
        return answer


class ModelSet:
    """The Models service of a graph: sessions that are given, and files that are read
    when a graph first asks for them. Thread-safe.
    """

    def __init__(
        self, sessions: Mapping[str, InferenceSession], specs: Mapping[str, ModelSpec]
    ) -> None:
        self._sessions = sessions
        self._specs = specs
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._loaded: dict[tuple[str, int], CompiledModel] = {}

    def session(self, name: str, version: str) -> InferenceSession:
        """See Models. An object of the caller's is every version of its name."""
        if name in self._sessions:
            return self._sessions[name]
        spec = self._specs.get(name)
        if spec is None:
            known = ", ".join(sorted({*self._sessions, *self._specs})) or "none"
            raise _unavailable(name, f"there is no such model; known: {known}")
        with self._lock:
            return self._session(spec, int(version) if version.isdigit() else 0)

    def _session(self, spec: ModelSpec, wanted: int) -> InferenceSession:
        try:
            if spec.url:
                details = f"{spec.url}: cloud storage is for servers"
                raise ServingError(Status.NOT_IMPLEMENTED, details)
            found = files.versions(spec.base_path)
            selected = select(spec.version_policy, found)
            version = wanted or max(selected, default=0)
            if version not in selected:
                raise ServingError(Status.MODEL_VERSION_MISSING)
            compiled = self._loaded.get((spec.name, version))
            if compiled is None:
                compiled = self._load(spec, found[version])
                self._loaded[spec.name, version] = compiled
        except ServingError as error:
            raise _unavailable(spec.name, error.text) from error
        return _Session(spec.name, compiled)

    def _load(self, spec: ModelSpec, directory: Path) -> CompiledModel:
        if self._engine is None:
            # Heavy, and many a graph has no model.
            from ovms_mp.inference.openvino import OpenVINOEngine

            self._engine = OpenVINOEngine()
        return self._engine.load(*to_load(spec, directory))

    def close(self) -> None:
        """Let go of every model that was read, and end the engine's threads."""
        with self._lock:
            for compiled in self._loaded.values():
                compiled.close()
            self._loaded.clear()
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()


def to_load(spec: ModelSpec, directory: Path) -> tuple[Path, ModelConfig]:
    """What an engine is to be given for a version. Raises ServingError."""
    path = files.model_file(directory)
    config = ModelConfig(
        target_device=spec.target_device,
        plugin_config=spec.plugin_config,
        nireq=spec.nireq or 0,
        max_queue_length=spec.max_queue_length,
        adaptation=spec.adaptation,
        names=NameMapping(*files.name_mapping(directory)),
        allow_cache=spec.allow_cache,
        low_latency=spec.low_latency_transformation,
    )
    return path, config


def model_set(source: ModelSource | None) -> Models:
    """Nothing is read but configs. Raises ServingError, and TypeError for an object
    that is no session.
    """
    if source is None:
        return ModelSet({}, {})
    if isinstance(source, Path | str):
        return ModelSet({}, _specs_at(Path(source)))
    if not isinstance(source, Mapping):
        return source
    sessions: dict[str, InferenceSession] = {}
    specs: dict[str, ModelSpec] = {}
    for name, model in source.items():
        if isinstance(model, Path | str):
            specs[name] = ModelSpec(name, Path(model))
        elif callable(getattr(model, "infer", None)):
            sessions[name] = model
        else:
            what = type(cast("object", model)).__name__
            msg = (
                f'model "{name}": expected a path or an InferenceSession, found {what}'
            )
            raise TypeError(msg)
    return ModelSet(sessions, specs)


def beside(graph: Path) -> ModelSet:
    """The models that the subconfig.json beside a graph names, as the server has them.
    Raises ServingError.
    """
    if not (graph.parent / repository.SUBCONFIG_FILE).is_file():
        return ModelSet({}, {})
    return ModelSet({}, _configured(ModelSpec("graph", graph.parent.absolute())))


def _specs_at(path: Path) -> dict[str, ModelSpec]:
    if path.is_file():
        return _configured(path)
    if (path / CONFIG_FILE).is_file():
        return _configured(path / CONFIG_FILE)
    if not path.is_dir():
        raise ServingError(Status.PATH_INVALID, str(path))
    return {
        folder.name: ModelSpec(folder.name, folder)
        for folder in sorted(path.iterdir())
        if folder.is_dir()
    }


def _configured(source: Path | ModelSpec) -> dict[str, ModelSpec]:
    read = repository.read(source)
    for problem in read.problems:
        raise problem.error
    return {spec.name: spec for spec in read.models}


class _Session:
    """A model that was read, as a graph uses it."""

    def __init__(self, name: str, compiled: CompiledModel) -> None:
        self._name = name
        self._compiled = compiled

    @property
    def name(self) -> str:
        """As the graph names it."""
        return self._name

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """In the model's order."""
        return tuple(port.info for port in self._compiled.inputs)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """In the model's order."""
        return tuple(port.info for port in self._compiled.outputs)

    @property
    def slots(self) -> int:
        """How many inferences may run at a time."""
        return self._compiled.slots

    def infer(self, tensors: Mapping[str, Array]) -> Pending[Mapping[str, Array]]:
        """Names are any that OpenVINO knows a port by."""
        compiled = self._compiled
        inferred = compiled.infer(_ordered(tensors, compiled.inputs))
        answer: Pending[Mapping[str, Array]] = Pending(inferred.cancel)

        def pass_on(inferred: Pending[Inferred]) -> None:
            if inferred.error is None:
                outputs = inferred.value().outputs
                answer.complete(ByName(compiled.outputs, outputs))
            else:
                answer.fail(inferred.error)

        inferred.on_settled(pass_on)
        return answer


def _ordered(tensors: Mapping[str, Array], ports: Ports) -> list[Array]:
    by_index: dict[int, Array] = {}
    for name, array in tensors.items():
        index = ports.find(name)
        if index is None:
            details = f"input name: {name}"
            raise ServingError(Status.INVALID_UNEXPECTED_INPUT, details)
        by_index[index] = array
    for index, port in enumerate(ports):
        if index not in by_index:
            details = f"Required input: {port.name}"
            raise ServingError(Status.INVALID_MISSING_INPUT, details)
    return [by_index[index] for index in range(len(ports))]


def _unavailable(name: str, reason: str) -> ServingError:
    status = Status.MEDIAPIPE_GRAPH_INITIALIZATION_ERROR
    return ServingError(status, f'model "{name}": {reason}')

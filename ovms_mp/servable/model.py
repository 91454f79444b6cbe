"""A version of a model answers requests: judged, inferred, and on the way counted."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferResponse, OutputTensor, ServableMetadata
from ovms_mp.core.pending import Pending
from ovms_mp.servable.description import Description
from ovms_mp.servable.validation import check_outputs, order_inputs, read_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovms_mp.core.messages import Buffer, InferRequest, TensorInfo
    from ovms_mp.core.tensor import Array
    from ovms_mp.inference.engine import CompiledModel, InferenceObserver, Ports
    from ovms_mp.repository.config import ModelSpec
    from ovms_mp.servable.base import StreamSession, StreamSink
    from ovms_mp.telemetry.metrics import Metrics

_METHOD: Final = "ModelInfer"


class ModelServable:
    """See base.Servable. Owns `compiled`. Thread-safe; nothing blocks."""

    def __init__(
        self,
        name: str,
        version: int,
        compiled: CompiledModel,
        metrics: Metrics,
        spec: ModelSpec | None = None,
    ) -> None:
        self._spec = spec
        self._name = name
        self._version = version
        self._label = str(version)
        self._compiled = compiled
        self._metrics = metrics
        ports = compiled.outputs
        self._outputs = [(index, ports[index].info) for index in ports.by_name]
        self.observer: Final[InferenceObserver] = _Observer(metrics, name, self._label)
        metrics.model_loaded(name, self._label)
        metrics.streams(name, self._label, compiled.streams)
        metrics.infer_request_queue_size(name, self._label, compiled.slots)

    @property
    def name(self) -> str:
        """What clients call it."""
        return self._name

    @property
    def version(self) -> int:
        """Its number in the repository."""
        return self._version

    @property
    def compiled(self) -> CompiledModel:
        """The model itself."""
        return self._compiled

    def metadata(self) -> ServableMetadata:
        """Ports in the order of names; `versions` tells of this one only."""
        return ServableMetadata(
            name=self._name,
            versions=(self._label,),
            inputs=self._compiled.inputs.infos,
            outputs=self._compiled.outputs.infos,
        )

    def describe(self) -> Description:
        """How it is set up; `versions` tells of this one only."""
        spec = self._spec
        return Description(
            self.metadata(),
            backend="openvino",
            version_policy=spec and spec.version_policy,
            device=spec.target_device if spec else "",
            slots=self._compiled.slots,
            parameters={"NUM_STREAMS": str(self._compiled.streams)},
        )

    def infer(self, request: InferRequest) -> Pending[InferResponse]:
        """All outputs, whichever the request asks for (as OVMS over gRPC), in the order
        of names. Raises ServingError, or fails with it. To cancel stops the inference.
        """
        counted = _Counted(self._metrics, self._name, self._label, request.interface)
        try:
            check_outputs(self._compiled.outputs)
            tensors = read_inputs(request, self._compiled.inputs)
            inferred = self._compiled.infer(tensors, self.observer)
        except BaseException:
            counted.done(ok=False)
            raise
        answer: Pending[InferResponse] = Pending(inferred.cancel)

        def pass_on(inferred: Pending[tuple[Array, ...]]) -> None:
            error = inferred.error
            counted.done(ok=error is None)
            if error is None:
                answer.complete(self._response(request.id, inferred.value()))
            else:
                answer.fail(error)

        inferred.on_settled(pass_on)
        return answer

    def open_stream(self, request: InferRequest, sink: StreamSink) -> StreamSession:
        """Raises ServingError: streams are for graphs, among which OVMS looks for the
        name.
        """
        raise ServingError(Status.MEDIAPIPE_DEFINITION_NAME_MISSING)

    def close(self) -> None:
        """Let go of the model. Whoever still waits for it is told that it is retired."""
        self._compiled.close()

    def _response(self, id_: str, arrays: Sequence[Array]) -> InferResponse:
        outputs: list[OutputTensor] = []
        for index, info in self._outputs:
            array = arrays[index]
            outputs.append(
                OutputTensor(info.name, info.datatype, array.shape, _buffer(array))
            )
        return InferResponse(self._name, self._label, id_, outputs=tuple(outputs))


class ModelSession:
    """See calculator.services.InferenceSession: the same model, for graphs."""

    def __init__(self, servable: ModelServable) -> None:
        self._servable = servable

    @property
    def name(self) -> str:
        """The servable's name."""
        return self._servable.name

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """In the model's order, which is what calculators fall back to."""
        return tuple(port.info for port in self._servable.compiled.inputs)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """In the model's order."""
        return tuple(port.info for port in self._servable.compiled.outputs)

    @property
    def slots(self) -> int:
        """How many inferences may run at a time."""
        return self._servable.compiled.slots

    def infer(self, tensors: Mapping[str, Array]) -> Pending[Mapping[str, Array]]:
        """Names are any that OpenVINO knows a port by, with or without `:0`, both of
        inputs and in the result, which lists the published ones.
        """
        compiled = self._servable.compiled
        check_outputs(compiled.outputs)
        ordered = order_inputs(tensors, compiled.inputs)
        inferred = compiled.infer(ordered, self._servable.observer)
        answer: Pending[Mapping[str, Array]] = Pending(inferred.cancel)

        def pass_on(inferred: Pending[tuple[Array, ...]]) -> None:
            if inferred.error is None:
                answer.complete(_Outputs(compiled.outputs, inferred.value()))
            else:
                answer.fail(inferred.error)

        inferred.on_settled(pass_on)
        return answer


class _Outputs(Mapping[str, "Array"]):
    """Arrays by each name that a port goes by; lists the published ones."""

    __slots__ = ("_arrays", "_ports")

    def __init__(self, ports: Ports, arrays: tuple[Array, ...]) -> None:
        self._ports = ports
        self._arrays = arrays

    def __getitem__(self, name: str) -> Array:
        index = self._ports.find(name)
        if index is None:
            raise KeyError(name)
        return self._arrays[index]

    def __iter__(self) -> Iterator[str]:
        return (port.name for port in self._ports)

    def __len__(self) -> int:
        return len(self._arrays)


class _Observer:
    """An InferenceObserver that reports to the metrics of one version."""

    def __init__(self, metrics: Metrics, name: str, version: str) -> None:
        self._metrics = metrics
        self._name = name
        self._version = version

    def waited(self, seconds: float) -> None:
        self._metrics.wait_for_infer_request(self._name, self._version, seconds)

    def active(self, delta: int) -> None:
        self._metrics.infer_requests_active(self._name, self._version, delta)

    def inferred(self, seconds: float) -> None:
        self._metrics.inference_time(self._name, self._version, seconds)


class _Counted:
    """One request in the metrics, from its arrival to its end."""

    __slots__ = ("_arrived", "_interface", "_metrics", "_name", "_version")

    def __init__(
        self, metrics: Metrics, name: str, version: str, interface: str
    ) -> None:
        self._metrics = metrics
        self._name = name
        self._version = version
        self._interface = interface
        self._arrived = perf_counter()
        metrics.requests_started(name, version)

    def done(self, *, ok: bool) -> None:
        """As OVMS: the time of a request that failed is not counted."""
        metrics, name, version = self._metrics, self._name, self._version
        metrics.requests_finished(name, version)
        metrics.model_request(name, version, self._interface, _METHOD, ok=ok)
        if ok:
            seconds = perf_counter() - self._arrived
            metrics.request_time(name, version, self._interface, seconds)


def _buffer(array: Array) -> Buffer:
    """The array's memory itself, as bytes."""
    if not array.size:
        return b""
    return array.reshape(-1).view(np.uint8).data

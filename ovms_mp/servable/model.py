"""A version of a model answers requests: judged, inferred, and on the way counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from ovms_mp.core.errors import ServingError
from ovms_mp.core.happenings import HERE
from ovms_mp.core.messages import InferResponse, ServableMetadata
from ovms_mp.core.pending import Cancelled, Pending
from ovms_mp.core.strand import inline
from ovms_mp.inference.state import State, infer_from
from ovms_mp.servable.batching import join_requests
from ovms_mp.servable.decoding import Decoding
from ovms_mp.servable.description import Description
from ovms_mp.servable.inferences import told
from ovms_mp.servable.model_use import ModelUse
from ovms_mp.servable.outputs import OutputWriter, written
from ovms_mp.servable.repeats import Repeat
from ovms_mp.servable.sequences import IDLE_SECONDS
from ovms_mp.servable.statistics import Recorder
from ovms_mp.servable.validation import (
    InputReader,
    check_outputs,
    forms,
    order_inputs,
    put_in_order,
)
from ovms_mp.servable.watching import Watching

if TYPE_CHECKING:
    from ovms_mp.core.messages import InferRequest
    from ovms_mp.core.strand import Submit
    from ovms_mp.core.tensor import Array
    from ovms_mp.inference.engine import CompiledModel, Inferred
    from ovms_mp.repository.config import ModelSpec
    from ovms_mp.servable.base import StreamSession, StreamSink
    from ovms_mp.servable.outputs import Output
    from ovms_mp.servable.statistics import ModelStatistics
    from ovms_mp.telemetry.metrics import Metrics


class ModelServable:
    """See base.Servable. Owns `compiled`. Thread-safe; nothing blocks: pictures are
    decoded in the threads of `submit`. Raises ServingError if `spec` asks to join
    requests, and the model cannot.
    """

    def __init__(
        self,
        name: str,
        version: int,
        compiled: CompiledModel,
        metrics: Metrics,
        spec: ModelSpec | None = None,
        *,
        idle_seconds: float | None = IDLE_SECONDS,
        submit: Submit = inline,
        watching: Watching | None = None,
    ) -> None:
        self._spec = spec
        self._name = name
        self._version = version
        self._label = str(version)
        self._compiled = compiled
        self._inputs = InputReader(compiled)
        self._watching = watching or Watching()
        self._use = ModelUse(
            name,
            self._label,
            compiled,
            self._infer,
            spec,
            meter=metrics.streams(name),
            idle_seconds=idle_seconds,
            watching=self._watching,
        )
        self._decoding = Decoding(submit)
        self._outputs = OutputWriter(compiled.outputs)
        self._joint = join_requests(
            compiled, spec, self._use.alarms, metrics.batch_sizes, self._label
        )
        self._run = compiled.infer if self._joint is None else self._joint.batcher.infer
        self._meter = metrics.model(name, self._label)
        self.recorder: Final = Recorder(self._meter)
        self._forms = forms(compiled)
        metrics.model_has(
            name,
            self._label,
            streams=compiled.streams,
            slots=compiled.slots,
            busy=lambda: compiled.busy,
            requests=lambda: self.recorder.in_process,
            settle=self.recorder.settle,
        )

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

    @property
    def waiting(self) -> int:
        """Inferences that have not begun."""
        joint = self._joint
        return self._compiled.waiting + (0 if joint is None else joint.batcher.waiting)

    def metadata(self) -> ServableMetadata:
        """Ports in the order of names; `versions` tells of this one only."""
        return ServableMetadata(
            name=self._name,
            versions=(self._label,),
            inputs=self._compiled.inputs.infos,
            outputs=self._compiled.outputs.infos,
            model_info=self._compiled.model_info,
        )

    def describe(self) -> Description:
        """How it is set up; `versions` tells of this one only."""
        spec, sequences = self._spec, self._use.sequences
        return Description(
            self.metadata(),
            backend="openvino",
            version_policy=spec and spec.version_policy,
            device=spec.target_device if spec else "",
            slots=self._compiled.slots,
            batching=spec.dynamic_batching if spec and self._joint else None,
            sequences=None if sequences is None else sequences.limits,
            parameters={"NUM_STREAMS": str(self._compiled.streams)},
        )

    def statistics(self) -> ModelStatistics:
        """What it has done for clients and for graphs."""
        statistics = self.recorder.statistics()
        return statistics if self._joint is None else self._joint.told_of(statistics)

    def infer(self, request: InferRequest) -> Pending[InferResponse]:
        """The outputs that the request asks for, or all, in the order of names. Raises
        ServingError, or fails with it. To cancel stops the inference.
        """
        use = self._use
        ask = self._infer if use.sequences is None else use.sequences.infer
        watched = self._watching.asked(use.shape)
        return ask(request) if watched is None else watched.asks(lambda: ask(request))

    def _infer(
        self, request: InferRequest, state: State | None = None
    ) -> Pending[InferResponse]:
        arrived, here = perf_counter_ns(), HERE.get()
        run = self._run if here is None else told(here, self._name, self._run)
        self.recorder.arrived()
        try:
            tensors = self._inputs.read(request)
            outputs = self._outputs.select(request.outputs)
            asked = perf_counter_ns()
            if tensors is None and state is None:
                decode = partial(self._inputs.decode, request)
                inferred = self._decoding.then(decode, run)
            else:  # what has a state has it in the order of requests
                tensors = self._inputs.decode(request) if tensors is None else tensors
                inferred = infer_from(state, tensors, run)
        except BaseException as error:
            self._failed(request, arrived, error)
            raise
        if inferred.is_settled and inferred.error is None:
            response = self._answer(request, outputs, arrived, asked, inferred.value())
            return Pending.completed(response)
        answer: Pending[InferResponse] = Pending(inferred.cancel)

        def pass_on(inferred: Pending[Inferred]) -> None:
            error = inferred.error
            if error is None:
                response = self._answer(
                    request, outputs, arrived, asked, inferred.value()
                )
                answer.complete(response)
            else:
                self._failed(request, arrived, error)
                answer.fail(error)

        inferred.on_settled(pass_on)
        return answer

    def repeat(self, request: InferRequest) -> Repeat | None:
        """See Servable."""
        ports = self._compiled.outputs
        selected = self._outputs.select(request.outputs)
        is_plain = all(ports[each.at].is_static and not each.write for each in selected)
        is_alone = self._use.sequences is None and self._joint is None
        if not (is_plain and is_alone and self._inputs.is_known(request)):
            return None
        recorder, meter, interface = self.recorder, self._meter, request.interface

        def fail(arrived: int) -> None:
            recorder.arrived()
            recorder.failed(arrived)
            if meter is not None:
                meter.failed(interface)

        count = partial(recorder.answered, interface)
        order = tuple([each.at for each in selected])
        is_watched = partial(self._watching.is_watched, self._name)
        return Repeat(self._compiled, order, count, fail, is_watched)

    def infer_for_graph(
        self, tensors: Mapping[str, Array], state: State | None, *, is_patient: bool
    ) -> Pending[Inferred]:
        """An inference of a graph's node, which may have a state; `tensors` by any of
        the ports' names. Raises ServingError, or fails with it; one that `is_patient`
        not because too many wait.
        """
        arrived = perf_counter_ns()
        self.recorder.arrived()
        try:
            ordered = self._ordered(tensors)
            asked = perf_counter_ns()
            infer = partial(self._run, is_patient=is_patient)
            pending = infer_from(state, ordered, infer)
        except BaseException as error:
            self._count_failure(arrived, error)
            raise

        def count(pending: Pending[Inferred]) -> None:
            if pending.error is None:
                self._count_success(arrived, asked, pending.value())
            else:
                self._count_failure(arrived, pending.error)

        pending.on_settled(count)
        return pending

    def _ordered(self, tensors: Mapping[str, Array]) -> Sequence[Array]:
        """In the model's order. What a graph is told names the model: it has several."""
        try:
            check_outputs(self._compiled.outputs)
            return order_inputs(tensors, self._compiled.inputs)
        except ServingError as error:
            details = f"{error.details}; model name: {self.name}"
            raise ServingError(error.status, details.removeprefix("; ")) from error

    def infer_at_once(self, tensors: Mapping[str, Array]) -> Inferred | None:
        """`infer_for_graph` without a state, if that needs no look at the tensors but
        one, and is to be had within the call; else None. Raises ServingError when the
        inference fails.
        """
        if self._forms is None:
            return None
        ordered = put_in_order(tensors, self._compiled.inputs, self._forms)
        if ordered is None:
            return None
        arrived = perf_counter_ns()
        try:
            inferred = self._compiled.infer_at_once(ordered)
        except BaseException as error:
            self.recorder.arrived()
            self._count_failure(arrived, error)
            raise
        if inferred is not None:
            self.recorder.answered("", arrived, inferred)
        return inferred

    def open_stream(self, request: InferRequest, sink: StreamSink) -> StreamSession:
        """See Servable. A model with a state remembers for the stream."""
        return self._use.open_stream(request, sink)

    def close(self) -> None:
        """Let go of the model. Whoever still waits for it is told that it is retired."""
        self._compiled.close()
        if self._joint is not None:
            self._joint.batcher.close()
        self.recorder.settle()

    def _answer(
        self,
        request: InferRequest,
        outputs: Sequence[Output],
        arrived: int,
        asked: int,
        inferred: Inferred,
    ) -> InferResponse:
        taken = self._count_success(arrived, asked, inferred)
        if self._meter is not None:
            self._meter.answered(request.interface, taken)
        return InferResponse(
            self._name,
            self._label,
            request.id,
            outputs=written(outputs, inferred.outputs),
        )

    def _failed(
        self, request: InferRequest, arrived: int, error: BaseException
    ) -> None:
        self._count_failure(arrived, error)
        if self._meter is not None:
            self._meter.failed(request.interface)
            if isinstance(error, Cancelled):
                self._meter.cancelled(request.interface)

    def _count_success(self, arrived: int, asked: int, inferred: Inferred) -> int:
        """Returns the nanoseconds since the arrival."""
        if self._meter is not None:
            self._meter.inferred(inferred.begun - asked, inferred.engine_ns)
        return self.recorder.succeeded(arrived, asked, inferred)

    def _count_failure(self, arrived: int, error: BaseException) -> None:
        if isinstance(error, Cancelled):
            self.recorder.cancelled()
        else:
            self.recorder.failed(arrived)

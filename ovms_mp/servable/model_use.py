"""What a model version is used by beside single requests: streams, and sequences if it
has a state.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from ovms_mp.core.happenings import Shape
from ovms_mp.core.stream_policy import NO_LIMITS
from ovms_mp.inference.state import State
from ovms_mp.servable.model_stream import ModelStream
from ovms_mp.servable.sequences import MAX_SEQUENCES, Infer, Sequences
from ovms_mp.servable.streams import Lifetime, Streams

if TYPE_CHECKING:
    from ovms_mp.core.messages import InferRequest
    from ovms_mp.inference.engine import CompiledModel
    from ovms_mp.repository.config import ModelSpec
    from ovms_mp.servable.alarms import Alarms
    from ovms_mp.servable.base import StreamSession, StreamSink
    from ovms_mp.servable.watching import Watching
    from ovms_mp.telemetry.meters import StreamMeter

# As many are inferred as the model has slots, and as many wait to take their place.
WINDOW_PER_SLOT: Final = 2


class ModelUse:
    """Of one version, whose inferences are `infer`. Thread-safe. What its config says
    of streams and sequences is in `spec`; without it there are no limits but defaults. A sequence
    that is idle for `idle_seconds` is forgotten, unless its config keeps it.
    """

    def __init__(
        self,
        name: str,
        version: str,
        compiled: CompiledModel,
        infer: Infer,
        spec: ModelSpec | None,
        *,
        meter: StreamMeter,
        idle_seconds: float | None,
        watching: Watching,
    ) -> None:
        self._watching = watching
        self.shape: Final = Shape(name, (), tuple([p.name for p in compiled.inputs]))
        """What there is to be seen of it."""
        self._version = version
        self._infer = infer
        self._window = WINDOW_PER_SLOT * compiled.slots
        if spec is not None and spec.dynamic_batching is not None:
            # A stream by itself can fill a batch.
            self._window = max(self._window, spec.dynamic_batching.max_batch_size)
        policy = NO_LIMITS if spec is None else spec.stream
        self._streams = Streams(name, policy, meter)
        self.sequences: Sequences | None = None
        """Of a model with a state."""
        if compiled.is_stateful:
            most = MAX_SEQUENCES
            if spec is not None:
                most = spec.max_sequence_number
                idle_seconds = idle_seconds if spec.idle_sequence_cleanup else None
            self.sequences = Sequences(
                infer, self._streams.alarms, most=most, idle_seconds=idle_seconds
            )

    @property
    def alarms(self) -> Alarms:
        """For whatever is to happen to the version later."""
        return self._streams.alarms

    def open_stream(self, request: InferRequest, sink: StreamSink) -> StreamSession:
        """See Servable."""
        policy = self._streams.opened(request)
        if policy.window is None:
            policy = replace(policy, window=self._window)
        lifetime = Lifetime(self._streams, policy)
        if self.sequences is None:
            infer = partial(self._infer, state=None)
        else:
            infer = partial(self.sequences.infer, own=State())
        stream = ModelStream(
            self._version, infer, sink, policy=policy, lifetime=lifetime
        )
        stream.open(request, self._watching, self.shape)
        return stream

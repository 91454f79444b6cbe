"""Three methods of Triton's, for the tools that ask them: perf_analyzer does before it
sends anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ovms_mp_protos import kserve

from ovms_mp.core.messages import TensorInfo
from ovms_mp.frontend.grpc.catalog import Catalog
from ovms_mp.frontend.grpc.codec import parse
from ovms_mp.frontend.grpc.inference import guarded
from ovms_mp.frontend.transport.seam import Call, UnaryHandler
from ovms_mp.repository.versions import All, Latest, Specific, VersionPolicy
from ovms_mp.servable.description import Description, State
from ovms_mp.servable.statistics import BatchStatistics, ModelStatistics

# Triton names its types as KServe does, but for BYTES; what has no name is INVALID.
_DATA_TYPES: Final[Mapping[str, int]] = {
    name.removeprefix("TYPE_"): value.number
    for name, value in kserve.pool.FindEnumTypeByName(
        "inference.DataType"
    ).values_by_name.items()
}
_BYTES: Final = _DATA_TYPES["STRING"]
_INVALID: Final = _DATA_TYPES["INVALID"]

_KINDS: Final[Mapping[str, int]] = {
    "CPU": kserve.ModelInstanceGroup.KIND_CPU,
    "GPU": kserve.ModelInstanceGroup.KIND_GPU,
}

_MICROSECONDS: Final = 1e6


class TritonService:
    """The methods, as handlers of a transport; they hold no state of a call."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def handlers(self) -> Mapping[str, UnaryHandler]:
        """Each method by its path."""
        return {
            kserve.MODEL_CONFIG: guarded(self.model_config),
            kserve.MODEL_STATISTICS: guarded(self.model_statistics),
            kserve.REPOSITORY_INDEX: guarded(self.repository_index),
        }

    def model_config(self, message: bytes, call: Call) -> bytes:
        """How a servable is set up; NOT_FOUND if there is none."""
        request = parse(kserve.ModelConfigRequest, message)
        description = self._catalog.describe(request.name, request.version)
        response = kserve.ModelConfigResponse(config=config_of(description))
        return response.SerializeToString()

    def model_statistics(self, message: bytes, call: Call) -> bytes:
        """What a servable has done, or all; NOT_FOUND if there is none."""
        request = parse(kserve.ModelStatisticsRequest, message)
        response = kserve.ModelStatisticsResponse()
        known = self._catalog.statistics(request.name, request.version)
        for (name, version), statistics in known.items():
            _add_statistics(response.model_stats.add(), statistics)
            response.model_stats[-1].name = name
            response.model_stats[-1].version = version
        return response.SerializeToString()

    def repository_index(self, message: bytes, call: Call) -> bytes:
        """What there is, or what of it is ready. Another repository than the one
        without a name has nothing in it.
        """
        request = parse(kserve.RepositoryIndexRequest, message)
        response = kserve.RepositoryIndexResponse()
        for each in () if request.repository_name else self._catalog.index():
            if request.ready and each.state is not State.READY:
                continue
            response.models.add(
                name=each.name,
                version=each.version,
                state=each.state.value,
                reason=each.reason,
            )
        return response.SerializeToString()


def _add_statistics(
    message: kserve.ModelStatistics, statistics: ModelStatistics
) -> None:
    message.last_inference = statistics.last_inference
    message.inference_count = statistics.inference_count
    message.execution_count = statistics.execution_count
    infer = message.inference_stats
    for told, duration in (
        (infer.success, statistics.success),
        (infer.fail, statistics.fail),
        (infer.queue, statistics.queue),
        (infer.compute_input, statistics.compute_input),
        (infer.compute_infer, statistics.compute_infer),
        (infer.compute_output, statistics.compute_output),
    ):
        told.count, told.ns = duration.count, duration.ns
    if not statistics.compute_infer.count:
        return
    # As Triton: what was asked in one request is a batch of one.
    of_one = BatchStatistics(
        1,
        statistics.compute_input,
        statistics.compute_infer,
        statistics.compute_output,
    )
    for each in statistics.batches or (of_one,):
        batch = message.batch_stats.add(batch_size=each.size)
        for told, duration in (
            (batch.compute_input, each.compute_input),
            (batch.compute_infer, each.compute_infer),
            (batch.compute_output, each.compute_output),
        ):
            told.count, told.ns = duration.count, duration.ns


def config_of(description: Description) -> kserve.ModelConfig:
    """Triton's word for it. Dimensions are all that a request has, and max_batch_size is
    0, unless requests are joined: then there is a batch before the dimensions.

    Each inference that may run at a time is an instance; a graph has none, for what
    runs at a time is decided by its models.
    """
    metadata = description.metadata
    config = kserve.ModelConfig(
        name=metadata.name,
        platform=metadata.platform,
        backend=description.backend,
        version_policy=_version_policy(description.version_policy),
        model_transaction_policy=kserve.ModelTransactionPolicy(
            decoupled=description.is_decoupled
        ),
        parameters={
            name: kserve.ModelParameter(string_value=value)
            for name, value in description.parameters.items()
        },
    )
    batching, sequences = description.batching, description.sequences
    first = 0
    if batching is not None:
        first = 1
        config.max_batch_size = batching.max_batch_size
        delay = batching.max_queue_delay_microseconds
        config.dynamic_batching.max_queue_delay_microseconds = delay
    if sequences is not None:
        oldest = config.sequence_batching.oldest
        oldest.max_candidate_sequences = sequences.most
        idle = round((sequences.idle_seconds or 0) * _MICROSECONDS)
        config.sequence_batching.max_sequence_idle_microseconds = idle
    for name, data_type, dims in _tensors(metadata.inputs):
        config.input.add(name=name, data_type=data_type, dims=dims[first:])
    for name, data_type, dims in _tensors(metadata.outputs):
        config.output.add(name=name, data_type=data_type, dims=dims[first:])
    if description.slots:
        config.instance_group.add(
            name=metadata.name,
            count=description.slots,
            kind=_KINDS.get(
                description.device.partition(".")[0],
                kserve.ModelInstanceGroup.KIND_AUTO,
            ),
        )
    return config


def _tensors(
    infos: Iterable[TensorInfo],
) -> Iterable[tuple[str, int, tuple[int, ...]]]:
    for info in infos:
        known = _BYTES if info.datatype == "BYTES" else _INVALID
        yield info.name, _DATA_TYPES.get(info.datatype, known), info.shape


def _version_policy(policy: VersionPolicy | None) -> kserve.ModelVersionPolicy | None:
    kind = kserve.ModelVersionPolicy
    match policy:
        case None:
            return None
        case Latest(count):
            return kind(latest=kind.Latest(num_versions=count))
        case All():
            return kind(all=kind.All())
        case Specific(versions):
            return kind(specific=kind.Specific(versions=sorted(versions)))

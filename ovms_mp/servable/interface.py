"""The streams at a graph's boundary, by the names that clients use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.core.messages import (
    InferRequest,
    InferResponse,
    OutputTensor,
    ServableMetadata,
    TensorInfo,
)
from ovms_mp.core.packet import Packet
from ovms_mp.core.tuples import make
from ovms_mp.library.tensors import known_tensors
from ovms_mp.servable import boundary
from ovms_mp.servable.boundary import Kind
from ovms_mp.servable.description import VERSION
from ovms_mp.servable.parameters import TIMESTAMP

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.library.hosting import GraphConfig, GraphDefinition, StreamName

_MESSAGES: Final = frozenset({Kind.REQUEST, Kind.RESPONSE})
_NAMED_BY_THEMSELVES: Final = frozenset({Kind.PY_TENSOR, Kind.RESPONSE})
_NUMBERS: Final[Mapping[type[object], str]] = {
    bool: "BOOL",
    int: "INT64",
    float: "FP64",
}
"""What plain numbers leave a graph as: see `formats.tensors`."""


class GraphInterface:
    """How requests become packets and packets become responses, for one graph."""

    def __init__(self, name: str, definition: GraphDefinition) -> None:
        self.name: Final = name
        """What clients call the graph."""
        self._inputs = {
            stream.name: (boundary.kind_of(stream.tag), number)
            for stream, number in definition.inputs
        }
        self._outputs = [
            (boundary.kind_of(stream.tag), stream.name)
            for stream, _ in definition.outputs
        ]
        self._readers = {
            name: (boundary.reader(kind), number)
            for name, (kind, number) in self._inputs.items()
        }
        self._whole = next(
            (number for kind, number in self._inputs.values() if kind is Kind.REQUEST),
            None,
        )
        """The input that takes requests as they are."""
        known = known_tensors(definition)
        self._writers = [
            (_writer(kind, known.get(name)), name) for kind, name in self._outputs
        ]
        self._metadata = ServableMetadata(
            name=name,
            versions=(VERSION,),
            inputs=tuple(
                _info(each, kind, known) for each, (kind, _) in self._inputs.items()
            ),
            outputs=tuple(
                _number(stream.name, definition.streams[number].payload)
                or _info(stream.name, boundary.kind_of(stream.tag), known)
                for stream, number in definition.outputs
            ),
        )

    @property
    def output_names(self) -> Sequence[str]:
        """Names of the output streams, by number."""
        return [name for _, name in self._outputs]

    @property
    def input_count(self) -> int:
        """How many inputs a complete request has."""
        return len(self._inputs)

    def metadata(self) -> ServableMetadata:
        """The names of the streams, and what models and calculators know of datatypes
        and shapes. Of a frame that nobody knows more of it is UINT8, which every stream
        of frames takes, and [-1, -1, -1]; what nobody knows is INVALID and without a
        shape, as everything in OVMS.
        """
        return self._metadata

    def packets(
        self, request: InferRequest, timestamp: Timestamp
    ) -> Iterator[tuple[int, Packet]]:
        """Packets for graph inputs, as (stream, packet), in the order of the request.

        Raises ServingError at the first input that does not fit; those before it have
        been given out (OVMS keeps them in the graph, too).
        """
        if self._whole is not None:
            yield self._whole, Packet(timestamp, request)
            return
        boundary.check_coherence(request)
        for tensor in request.inputs:
            known = self._readers.get(tensor.name)
            if known is None:
                details = f"{tensor.name} is unexpected"
                raise ServingError(Status.INVALID_UNEXPECTED_INPUT, details)
            read, stream = known
            yield stream, make(Packet, (timestamp, read(tensor)))

    def check_wanted(self, wanted: Sequence[str]) -> None:
        """Before a run: raises ServingError for what can be no output's name."""
        if wanted and not any(
            each in _NAMED_BY_THEMSELVES for each, _ in self._outputs
        ):
            _check_wanted(wanted, {name for _, name in self._outputs})

    def chosen(self, response: InferResponse, wanted: Sequence[str]) -> InferResponse:
        """Of the outputs of a response those that are wanted, by the name of the stream
        or by the one that a Python tensor has of its own; all of them if none is wanted,
        or if the graph has made the whole message. Raises ServingError.
        """
        if not wanted:
            return response
        is_whole = self._outputs[0][0] is Kind.RESPONSE
        names = [*self.output_names] * (len(response.outputs) if is_whole else 1)
        pairs = list(zip(names, response.outputs, strict=True))
        if not is_whole:
            _check_wanted(
                wanted, {n for name, each in pairs for n in (name, each.name)}
            )
        left = [
            (each, name if name in wanted else each.name)
            for name, each in pairs
            if is_whole or {name, each.name}.intersection(wanted)
        ]
        return response._replace(
            outputs=tuple([each for each, _ in left]),
            asked_as=tuple([name for _, name in left]),
        )

    def response(
        self, packets: Sequence[tuple[int, Packet]], request_id: str
    ) -> InferResponse:
        """A response of packets of one timestamp, as (output, packet).

        Raises ServingError when a payload is not what its stream's tag says.
        """
        timestamp = packets[0][1].timestamp
        parameters = {TIMESTAMP: timestamp}
        kind, _ = self._outputs[packets[0][0]]
        if kind is Kind.RESPONSE:
            complete = boundary.to_response(packets[0][1].payload)
            return complete._replace(
                model_name=self.name,
                model_version=VERSION,
                id=request_id,
                parameters={**complete.parameters, **parameters},
            )
        outputs: list[OutputTensor] = []
        for output, packet in packets:
            write, name = self._writers[output]
            outputs.append(write(name, packet.payload))
        return make(
            InferResponse,
            (self.name, VERSION, request_id, parameters, tuple(outputs), ()),
        )


def _check_wanted(wanted: Sequence[str], known: Collection[str]) -> None:
    for name in wanted:
        if name not in known:
            details = f"Requested output: {public_text(name)}"
            raise ServingError(Status.INVALID_MISSING_OUTPUT, details)


def _writer(
    kind: Kind, known: TensorInfo | None
) -> Callable[[str, object], OutputTensor]:
    """That of the boundary, but of an empty list what is known of its stream: the list
    tells neither its columns nor that it is one of texts.
    """
    write = boundary.writer(kind)
    if known is None or -1 not in known.shape:
        return write
    empty = tuple(max(size, 0) for size in known.shape)

    def write_any(stream: str, payload: object) -> OutputTensor:
        match payload:
            case []:
                return OutputTensor(stream, known.datatype, empty, b"")
            case _:
                return write(stream, payload)

    return write_any


def _number(name: str, payload: object) -> TensorInfo | None:
    """Of a stream that is declared to carry plain numbers."""
    datatype = _NUMBERS.get(payload) if isinstance(payload, type) else None
    return TensorInfo(name, datatype, (1,)) if datatype else None


def _info(name: str, kind: Kind, known: Mapping[str, TensorInfo]) -> TensorInfo:
    if kind not in _MESSAGES and name in known:
        return replace(known[name], name=name)
    if kind is Kind.IMAGE:
        return TensorInfo(name, "UINT8", (-1, -1, -1))
    return TensorInfo(name, "INVALID", ())


def check_boundary(config: GraphConfig) -> None:
    """OVMS's rules for the streams of a graph that is served (they are not MediaPipe's,
    so a graph that runs in-process need not keep them). Raises GraphConfigError.
    """
    for streams, what in ((config.inputs, "input"), (config.outputs, "output")):
        if not streams:
            message = f"a served graph has at least one {what} stream"
            raise config.error(Status.INTERNAL_ERROR, 1, message)
        for stream in streams:
            try:
                boundary.kind_of(stream.tag)
            except ServingError as error:
                message = f"{what} stream {stream.name}: {error.details}"
                raise config.error(error.status, stream.line, message) from error
    requests = _of_kind(config.inputs, Kind.REQUEST)
    responses = _of_kind(config.outputs, Kind.RESPONSE)
    if not requests and not responses:
        return
    line = [*requests, *responses][0].line
    if not responses:
        status = Status.MEDIAPIPE_KFS_PASSTHROUGH_MISSING_OUTPUT_RESPONSE_TAG
    elif not requests:
        status = Status.MEDIAPIPE_KFS_PASSTHROUGH_MISSING_INPUT_REQUEST_TAG
    elif len(config.inputs) != 1:
        status = Status.MEDIAPIPE_KFS_PASS_WRONG_INPUT_STREAM_COUNT
    elif len(config.outputs) != 1:
        status = Status.MEDIAPIPE_KFS_PASS_WRONG_OUTPUT_STREAM_COUNT
    else:
        return
    message = "REQUEST and RESPONSE are the only streams of a graph that has them"
    raise config.error(status, line, message)


def _of_kind(streams: Sequence[StreamName], kind: Kind) -> list[StreamName]:
    return [each for each in streams if boundary.kind_of(each.tag) is kind]

"""Tensors go through a model: OpenVINOInferenceCalculator.

    node {
      calculator: "OpenVINOInferenceCalculator"
      input_side_packet: "SESSION:session"    # InferenceSession
      input_stream: "OVTENSOR:image"          # ndarray
      output_stream: "OVTENSOR1:boxes"        # ndarray, at the timestamp of image
      output_stream: "OVTENSOR2:scores"       # ndarray, at the timestamp of image
      node_options: {
        [type.googleapis.com/mediapipe.OpenVINOInferenceCalculatorOptions]: {
          tag_to_input_tensor_names { key: "OVTENSOR" value: "data" }
          tag_to_output_tensor_names { key: "OVTENSOR1" value: "boxes" }
          tag_to_output_tensor_names { key: "OVTENSOR2" value: "scores" }
        }
      }
    }

A tag says what its stream carries, by its beginning: OVTENSORS, TENSORS and TFTENSORS
vectors, which are lists of arrays; any other tag, and none, one array. A tag without an
entry in the maps is itself the tensor's name; the key of a stream without a tag is "".

A vector holds the tensors that `input_order_list` names, in that order; a vector that
goes out those of `output_order_list`, or all outputs in the order of their names.
Several inferences are under way at a time, what they give leaves in order. A model with
a state remembers for the node, from the start of a run to its end.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar, cast

import numpy as np
from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Foreseen,
    InferenceSession,
    Inputs,
    Options,
    Outputs,
    SideInput,
)
from ovms_mp_calculators.model_tensors import ModelTensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovms_mp.calculator import (
        Context,
        InputPort,
        NodeInfo,
        OutputPort,
        TensorInfo,
    )
    from ovms_mp.calculator.ports import BoundPort
    from ovms_mp.core.tensor import Array

_OPTIONS = graph.OpenVINOInferenceCalculatorOptions
_VECTORS: Final = ("OVTENSORS", "TENSORS", "TFTENSORS")
_UNSUPPORTED: Final = "TFLITE_TENSOR"
_ANYTHING: Final = cast("type[Any]", Any)

PortT = TypeVar("PortT", bound="BoundPort[Any]")


class _Stream(NamedTuple, Generic[PortT]):
    """What one stream means to the model: the tensors `names`, as an array or as a
    vector. A vector out without names stands for all outputs.
    """

    port: PortT
    names: tuple[str, ...]
    is_vector: bool


class _Streams(NamedTuple):
    """Which tensor each stream carries, the same for all runs."""

    sources: tuple[_Stream[InputPort[Any]], ...]
    targets: tuple[_Stream[OutputPort[Any]], ...]


class OpenVINOInferenceCalculator(Calculator):
    """One inference for each set of inputs, with the model of the session.

    Fails when a stream has no packet at the timestamp, when the tensors do not fit the
    model (the session says why), and when the model lacks an output.
    """

    is_short = True
    session = SideInput(InferenceSession, "SESSION")
    inputs = Inputs(_ANYTHING)
    outputs = Outputs(_ANYTHING)
    options = Options(_OPTIONS)
    timestamp_offset = 0
    # Enough to keep two inferences under way while one more is prepared and one is
    # consumed; more would only queue for the session's slots.
    max_in_flight = 4

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Refuses what no model could make work."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        names = options.tag_to_input_tensor_names
        order = options.input_order_list
        _check_side("input", node.inputs, names, order)
        if not order and any(_is_vector(port.tag) for port in node.inputs):
            raise ContractError("a vector of tensors needs input_order_list")
        _check_inputs(_streams(node.inputs, names, order))
        names = options.tag_to_output_tensor_names
        _check_side("output", node.outputs, names, options.output_order_list)

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """Those of the model, on the streams that carry one tensor each."""
        session = sessions.get(node.side_inputs[0].name)
        if session is None:
            return {}
        return {
            stream.port.name: info
            for streams, infos in (
                (shared.sources, session.inputs),
                (shared.targets, session.outputs),
            )
            for stream in streams
            for info in infos
            if not stream.is_vector and stream.names[0] in {info.name, *info.aliases}
        }

    @classmethod
    def load(cls, node: NodeInfo) -> _Streams:
        """Settle which tensor each stream carries."""
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        ins = options.tag_to_input_tensor_names, options.input_order_list
        outs = options.tag_to_output_tensor_names, options.output_order_list
        return _Streams(_streams(node.inputs, *ins), _streams(node.outputs, *outs))

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """Refuse a model that lacks a tensor, or takes none of what comes; what it gives
        is known if it is for one shape alone.
        """
        session = side_packets.get(node.side_inputs[0].name)
        if not isinstance(session, InferenceSession):
            return {}
        streams = cast("_Streams", shared)
        _foresee_inputs(streams.sources, coming, session)
        return _foresee_outputs(streams.targets, session)

    def open(self, ctx: Context) -> None:
        """The session, as this run uses it."""
        session = ctx.side(self.session)
        # See RunSessions: to ask a protocol takes longer than all the rest of this.
        for_run = getattr(session, "for_run", None)
        self._model = session if for_run is None else for_run(is_patient=ctx.is_patient)
        self._sources, self._targets = self.shared

    def process(self, ctx: Context) -> None:
        """Start an inference, go on when it is done."""
        tensors: dict[str, Array] = {}
        for source in self._sources:
            payload = ctx[source.port]
            if source.is_vector or not isinstance(payload, np.ndarray):
                arrays = _arrays(source, payload)
                tensors.update(zip(source.names, arrays, strict=True))
            else:
                tensors[source.names[0]] = cast("Array", payload)
        pending = self._model.infer(tensors)
        # What is there already needs no turn of its own: that takes a tenth of a message.
        if pending.is_settled and pending.error is None:
            self._send(ctx, pending.value())
        else:
            ctx.wait(pending, partial(self._send, ctx))

    def _send(self, ctx: Context, results: Mapping[str, Array]) -> None:
        for port, names, is_vector in self._targets:
            chosen = names or sorted(each.name for each in self._model.outputs)
            arrays = [self._output(results, name) for name in chosen]
            if is_vector:
                ctx.send(port, ModelTensors(arrays, chosen, self._model.name))
            else:
                ctx.send(port, arrays[0])

    def _output(self, results: Mapping[str, Array], name: str) -> Array:
        try:
            return results[name]
        except KeyError:
            known = ", ".join(f'"{each}"' for each in results)
            raise LookupError(
                f'model "{self._model.name}" has no output "{name}", it has {known}'
            ) from None


def _foresee_inputs(
    sources: Sequence[_Stream[InputPort[Any]]],
    coming: Mapping[str, Sequence[Foreseen]],
    session: InferenceSession,
) -> None:
    """Raises ContractError. Of a model that tells nothing of its inputs nothing is known."""
    if not session.inputs:
        return
    for port, names, _ in sources:
        ports = [_port(session, "input", session.inputs, name) for name in names]
        tensors = coming.get(port.name)
        if tensors is None:
            continue
        if len(tensors) != len(names):
            raise ContractError(
                f'input stream "{port.label}" carries {len(tensors)} tensors, '
                f"input_order_list names {len(names)}"
            )
        for tensor, info in zip(tensors, ports, strict=True):
            _foresee_input(tensor, info, session)


def _foresee_input(
    tensor: Foreseen, info: TensorInfo, session: InferenceSession
) -> None:
    whose = f'input "{info.name}" of model "{session.name}"'
    if not info.is_example and not tensor.may_be(info.shape):
        raise ContractError(
            f"{tensor.whose} is of shape {list(tensor.shape)}; {whose} takes "
            f"{list(info.shape)}"
        )
    if tensor.datatype not in {"", info.datatype}:
        raise ContractError(
            f"{tensor.whose} is {tensor.datatype}; {whose} takes {info.datatype}"
        )


def _foresee_outputs(
    targets: Sequence[_Stream[OutputPort[Any]]], session: InferenceSession
) -> Mapping[str, Sequence[Foreseen]]:
    """Raises ContractError for an output that there is not."""
    outputs = session.outputs
    if not outputs:
        return {}
    # Of what comes in several shapes, and is not said to, there is the first one only.
    has_one_shape = not any(e.is_example or -1 in e.shape for e in session.inputs)
    found: dict[str, Sequence[Foreseen]] = {}
    for port, names, _ in targets:
        chosen = names or sorted(each.name for each in outputs)
        infos = [_port(session, "output", outputs, name) for name in chosen]
        if has_one_shape and not any(each.is_example for each in infos):
            found[port.name] = [
                Foreseen(
                    f'output "{name}" of model "{session.name}"',
                    info.datatype.removeprefix("INVALID"),
                    info.shape,
                )
                for name, info in zip(chosen, infos, strict=True)
            ]
    return found


def _port(
    session: InferenceSession, side: str, infos: Sequence[TensorInfo], name: str
) -> TensorInfo:
    bare = name.removesuffix(":0")
    for info in infos:
        if not {name, bare, f"{bare}:0"}.isdisjoint({info.name, *info.aliases}):
            return info
    known = ", ".join(f'"{each.name}"' for each in infos)
    raise ContractError(
        f'model "{session.name}" has no {side} "{name}", it has {known}'
    )


def _is_vector(tag: str) -> bool:
    return tag.startswith(_VECTORS)


def _streams(
    ports: Sequence[PortT], names: Mapping[str, str], order: Sequence[str]
) -> tuple[_Stream[PortT], ...]:
    return tuple(
        _Stream(port, tuple(order), is_vector=True)
        if _is_vector(port.tag)
        else _Stream(port, (names.get(port.tag, port.tag),), is_vector=False)
        for port in ports
    )


def _arrays(stream: _Stream[InputPort[Any]], payload: Any) -> Sequence[Array]:
    label = stream.port.label
    if not stream.is_vector:
        if not isinstance(payload, np.ndarray):
            what = type(payload).__name__
            raise TypeError(f'input stream "{label}" carries {what}, not an array')
        return (cast("Array", payload),)
    vector = cast("list[object]", payload)
    is_list = isinstance(payload, list)
    if not is_list or not all(isinstance(each, np.ndarray) for each in vector):
        raise TypeError(f'input stream "{label}" does not carry a list of arrays')
    if len(vector) != len(stream.names):
        raise ValueError(
            f'input stream "{label}" carries {len(vector)} tensors, '
            f"input_order_list names {len(stream.names)}"
        )
    return cast("list[Array]", vector)


def _check_side(
    side: str,
    ports: Sequence[BoundPort[Any]],
    names: Mapping[str, str],
    order: Sequence[str],
) -> None:
    if names and order:
        raise ContractError(
            f"tag_to_{side}_tensor_names and {side}_order_list exclude each other"
        )
    tags = [port.tag for port in ports]
    for port in ports:
        tag = port.tag
        if tag.startswith(_UNSUPPORTED):
            raise ContractError(f'{side} stream "{port.label}": {tag} is not supported')
        if tags.count(tag) > 1:
            what = f"the tag {tag}" if tag else "no tag"
            raise ContractError(f"{tags.count(tag)} {side} streams have {what}")
        if not tag and not names.get(tag):
            raise ContractError(
                f'{side} stream "{port.label}" has no tag, so '
                f'tag_to_{side}_tensor_names needs an entry with the key ""'
            )


def _check_inputs(streams: Sequence[_Stream[InputPort[Any]]]) -> None:
    claimed: dict[str, str] = {}
    for stream in streams:
        for name in stream.names:
            if name in claimed:
                raise ContractError(
                    f'input tensor "{name}" comes from two places: '
                    f'"{claimed[name]}" and "{stream.port.label}"'
                )
            claimed[name] = stream.port.label

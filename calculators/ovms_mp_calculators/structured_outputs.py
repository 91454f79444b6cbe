"""Detections, landmarks and the like as texts: ToJsonCalculator, ToProtoCalculator.

    node {
      calculator: "ToJsonCalculator"
      input_stream: "faces"          # list of Detection, or another value or message
      output_stream: "faces_json"    # str
    }

As an output of a graph the first is BYTES [1], JSON of the MediaPipe message that stands
for the value, with the names of its fields; of a list an array of them, in one text.
ToProtoCalculator sends the messages themselves, serialized: bytes, which is BYTES [1],
or of a list a list of bytes, BYTES [n], of an empty one BYTES [0].

For clients that read MediaPipe's messages, or none of the tensors that the same values
are without this node.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from google.protobuf import json_format
from google.protobuf.message import Message
from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, Input, Output, TensorInfo
from ovms_mp.formats.messages import message_name, to_message
from ovms_mp.formats.tensors import Texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.calculator import Context, InferenceSession, NodeInfo

_COMPACT: Final = (",", ":")


class ToJsonCalculator(Calculator):
    """Fails for what has no message."""

    timestamp_offset = 0

    value = Input(Any)
    text = Output(str)

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """One text."""
        name = node.outputs[0].name
        return {name: TensorInfo(name, "BYTES", (1,))}

    def process(self, ctx: Context) -> None:
        """One value."""
        value = ctx[self.value]
        if isinstance(value, list):
            made: object = [_fields(each) for each in cast("list[object]", value)]
        else:
            made = _fields(value)
        ctx.send(self.text, json.dumps(made, separators=_COMPACT))


class ToProtoCalculator(Calculator):
    """Fails for what has no message."""

    timestamp_offset = 0

    value = Input(Any)
    serialized: Output[Any] = Output(Any)

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """Texts, one of a single value."""
        name = node.outputs[0].name
        return {name: TensorInfo(name, "BYTES", (-1,))}

    def process(self, ctx: Context) -> None:
        """One value."""
        value = ctx[self.value]
        if isinstance(value, list):
            items = cast("list[object]", value)
            made: object = Texts(_message(each).SerializeToString() for each in items)
        else:
            made = _message(value).SerializeToString()
        ctx.send(self.serialized, made)


def _message(value: object) -> Message:
    if isinstance(value, Message):
        return value
    if not message_name(value):
        raise TypeError(f"{type(value).__name__} is none of MediaPipe's messages")
    return to_message(value, graph.message_class)


def _fields(value: object) -> dict[str, Any]:
    return json_format.MessageToDict(_message(value), preserving_proto_field_name=True)

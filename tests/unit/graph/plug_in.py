"""Messages of a plug-in: in a descriptor pool of its own, with its own copy of what it
extends.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_EXTENDED = """
name: "mediapipe/framework/calculator_options.proto" package: "mediapipe"
message_type {
  name: "CalculatorOptions" extension_range { start: 20000 end: 536870912 }
}
"""

_LIGHTS = """
name: "lights.proto" package: "lights"
dependency: "google/protobuf/any.proto"
dependency: "mediapipe/framework/calculator_options.proto"
message_type {
  name: "Light"
  extension {
    name: "ext" number: 190865679 label: LABEL_OPTIONAL type: TYPE_MESSAGE
    type_name: ".lights.Light" extendee: ".mediapipe.CalculatorOptions"
  }
  field { name: "rate" number: 1 label: LABEL_OPTIONAL type: TYPE_DOUBLE }
  field { name: "name" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "numbers" number: 3 label: LABEL_REPEATED type: TYPE_INT32 }
  field { name: "sub" number: 4 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".lights.Light" }
  field { name: "bundle" number: 5 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".lights.Light" }
  field { name: "packed" number: 6 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".google.protobuf.Any" }
  field { name: "is_on" number: 7 label: LABEL_OPTIONAL type: TYPE_BOOL }
  field { name: "needed" number: 8 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".lights.Needs" }
}
message_type {
  name: "Chain"
  field { name: "length" number: 1 label: LABEL_OPTIONAL type: TYPE_INT32 }
  field { name: "lengths" number: 2 label: LABEL_REPEATED type: TYPE_INT64 }
  field { name: "light" number: 3 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".lights.Light" }
  field { name: "packed" number: 4 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".google.protobuf.Any" }
  field { name: "is_on" number: 5 label: LABEL_OPTIONAL type: TYPE_BOOL }
  field { name: "name" number: 6 label: LABEL_OPTIONAL type: TYPE_STRING }
}
message_type {
  name: "Needs"
  field { name: "this" number: 1 label: LABEL_REQUIRED type: TYPE_STRING }
}
"""

POOL = DescriptorPool()
POOL.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
for _text in (_EXTENDED, _LIGHTS):
    _file = text_format.Parse(_text, FileDescriptorProto())
    POOL.AddSerializedFile(_file.SerializeToString())

Light: Any = GetMessageClass(POOL.FindMessageTypeByName("lights.Light"))
Chain: Any = GetMessageClass(POOL.FindMessageTypeByName("lights.Chain"))


def options(calculator: str) -> Any:
    """The options message of each calculator of the plug-in."""
    return {"Lamp": Light, "Chained": Chain}.get(calculator)

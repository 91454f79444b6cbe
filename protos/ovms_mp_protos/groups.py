"""A group of protos lives in a descriptor pool that no other library shares.

The default pool takes each symbol once: there, a second `inference.*` or `mediapipe.*`
(tritonclient's, mediapipe's, another server's) ends the import of whoever comes last.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from google.protobuf import any_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal import api_implementation
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.message import Message


class UnsupportedProtobuf(ImportError):
    """The protobuf of this process runs on an implementation that is not served on."""


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """What a group offers under short names.

    `packages` are those whose messages it offers; `services` maps the full name of a
    service to a prefix for the names of its methods.
    """

    name: str
    packages: tuple[str, ...]
    services: Mapping[str, str]


# A message of grpc.reflection.v1alpha is one of grpc.reflection.v1 on the wire.
KSERVE: Final = GroupSpec(
    name="kserve",
    packages=("inference", "grpc.health.v1", "grpc.reflection.v1"),
    services={
        "inference.GRPCInferenceService": "",
        "grpc.health.v1.Health": "HEALTH_",
        "grpc.reflection.v1.ServerReflection": "",
        "grpc.reflection.v1alpha.ServerReflection": "V1ALPHA_",
    },
)

GRAPH: Final = GroupSpec(name="graph", packages=("mediapipe", "ovms_mp"), services={})


class Group:
    """The messages of one serialized FileDescriptorSet; for use by any thread.

    Raises UnsupportedProtobuf under protobuf's pure-Python implementation, which needs
    more than a hundred times as long for an inference request.
    """

    def __init__(self, spec: GroupSpec, descriptors: bytes) -> None:
        implementation = api_implementation.Type()
        if implementation == "python":
            raise UnsupportedProtobuf(
                "protobuf runs in pure Python here, which is far too slow to serve "
                "with; install it from a wheel that has its native implementation "
                "(upb), and unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
            )
        self.spec = spec
        self.pool = DescriptorPool()
        # What the runtime brings itself comes as the runtime has it.
        self.pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
        self._files = FileDescriptorSet.FromString(descriptors).file
        for file in self._files:
            self.pool.AddSerializedFile(file.SerializeToString())

    def message_class(self, full_name: str) -> type[Message]:
        """The class of a message; KeyError where the group has no such name."""
        return GetMessageClass(self.pool.FindMessageTypeByName(full_name))

    def messages(self) -> Iterator[tuple[str, type[Message]]]:
        """Short name and class of each top-level message of the offered packages."""
        for file in self._files:
            if file.package in self.spec.packages:
                for message in file.message_type:
                    full_name = f"{file.package}.{message.name}"
                    yield message.name, self.message_class(full_name)

    def methods(self) -> Iterator[tuple[str, str]]:
        """Constant and path of each RPC: MODEL_INFER and /…Service/ModelInfer."""
        for service, prefix in self.spec.services.items():
            for method in self.pool.FindServiceByName(service).methods:
                constant = re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).upper()
                yield prefix + constant, f"/{service}/{method.name}"


def load(spec: GroupSpec) -> Group:
    """The group as it was compiled beside this module."""
    binary = Path(__file__).with_name(f"{spec.name}.binpb")
    return Group(spec, binary.read_bytes())

"""Messages of the wheel, read out of its generated modules; none of them is imported,
so its descriptors meet no other pool and its dependencies stay on disk.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

_RUNTIME: Final = (
    any_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)


class WheelMessages:
    """The messages of a folder of `*_pb2.py` files, in a pool of their own.

    Reading mediapipe's 269 takes a quarter of a second.
    """

    def __init__(self, folder: Path) -> None:
        self._pool = DescriptorPool()
        for module in _RUNTIME:
            self._pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        self._left: dict[str, bytes] = {}
        for path in sorted(folder.rglob("*_pb2.py")):
            for serialized in _serialized_files(path):
                name = FileDescriptorProto.FromString(serialized).name
                self._left[name] = serialized
        while self._left:
            self._add(next(iter(self._left)))

    def _add(self, name: str) -> None:
        serialized = self._left.pop(name, None)
        if serialized is None:
            return
        for dependency in FileDescriptorProto.FromString(serialized).dependency:
            self._add(dependency)
        self._pool.AddSerializedFile(serialized)

    def message_class(self, full_name: str) -> type[Message]:
        """Raises KeyError."""
        return GetMessageClass(self._pool.FindMessageTypeByName(full_name))


def _serialized_files(path: Path) -> Iterator[bytes]:
    """What the module would give to `AddSerializedFile`."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "AddSerializedFile"
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, bytes)
        ):
            yield node.args[0].value


@cache
def wheel() -> WheelMessages:
    """The messages of the installed wheel. Raises KeyError if there is none."""
    spec = find_spec("mediapipe")
    folders = None if spec is None else spec.submodule_search_locations
    if not folders:
        raise KeyError("mediapipe is not installed")
    return WheelMessages(Path(folders[0]))

"""A CalculatorGraphConfig as bytes and as text: what programs hold instead of a file."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from ovms_mp_protos import graph

message_class: Final = graph.message_class
"""A message of ours by its full name; KeyError where there is none."""


def to_text(binary: bytes) -> str:
    """The pbtxt of a serialized CalculatorGraphConfig. Raises ValueError."""
    try:
        return str(graph.CalculatorGraphConfig.FromString(binary))
    except DecodeError as error:
        raise ValueError("expected a CalculatorGraphConfig") from error


def to_binary(text: str) -> bytes:
    """The other way. Raises ValueError for options that we have no message for."""
    config = graph.CalculatorGraphConfig()
    try:
        pool: Any = config.DESCRIPTOR.file.pool
        text_format.Parse(text, config, descriptor_pool=pool)
    except text_format.ParseError as error:
        raise ValueError(str(error)) from error
    return config.SerializeToString(deterministic=True)

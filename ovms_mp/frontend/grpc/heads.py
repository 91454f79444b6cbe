"""What clients say again and again is not parsed again: of a ModelInferRequest all but its
id, parameters and raw contents, of a ModelInferResponse all but its id and contents.

A head is known by its bytes, or by the values that it says, never by what it is thought
to mean; so whether it was remembered cannot be told from an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from ovms_mp.core.messages import Buffer, Parameter
from ovms_mp.frontend.grpc.wire import delimited

# Few clients have more to say before the contents; and what strangers send takes half a
# megabyte at most.
MAX_HEAD_SIZE: Final = 1024
MAX_HEADS: Final = 512
# More contents than any model has inputs are counted by the scan that has limits.
_MAX_RAW: Final = 64
_MORE: Final = 0x80
# Sizes of messages take no more.
_MAX_SHIFT: Final = 28
FEW: Final = 4096
"""Bytes: up to here a copy is cheaper than a view."""

_MODEL_NAME: Final = delimited(1)
_MODEL_VERSION: Final = delimited(2)
_ID: Final = delimited(3)
_PARAMETERS: Final = delimited(4)
_INPUTS: Final = delimited(5)
_OUTPUTS: Final = delimited(6)
_RAW: Final = delimited(7)
_BESIDE_HEAD: Final = frozenset({_ID, _PARAMETERS})
_BEFORE_RAW: Final = _BESIDE_HEAD | {_MODEL_NAME, _MODEL_VERSION, _INPUTS, _OUTPUTS}

K = TypeVar("K")
V = TypeVar("V")


class Memory(dict[K, V], Generic[K, V]):
    """Up to MAX_HEADS of what was seen; when it is full it begins anew."""

    def keep(self, key: K, value: V) -> None:
        """Remember. From any thread: the worst that can come of two is one too many."""
        if len(self) >= MAX_HEADS:
            self.clear()
        self[key] = value


class Split(NamedTuple):
    """A message in three: `head` and `beside` are protobuf each."""

    head: bytes
    beside: bytes
    raw: tuple[Buffer, ...]


class RequestHead(NamedTuple):
    """What a head says; of each input its name, datatype, shape and parameters, of
    each output its name.
    """

    model_name: str
    model_version: str
    inputs: tuple[
        tuple[str, str, tuple[int, ...], Mapping[str, Parameter]],
        ...,
    ]
    outputs: tuple[str, ...] = ()


def split(message: bytes, view: memoryview | None = None) -> Split | None:
    """A ModelInferRequest as every client of the kind that sends raw contents writes it,
    its fields in order; None for any other message, whatever is wrong with it. Large
    contents are parts of `view`, which is one of the message.
    """
    try:
        found = _find_raw(message)
        if found is None:
            return None
        begin_beside, end_beside, begin_raw = found
        raw = _raw(message, begin_raw, view)
    except IndexError:  # it ends within a length
        return None
    if raw is None:
        return None
    if end_beside < 0:
        return Split(message[:begin_raw], b"", raw)
    head = message[:begin_beside] + message[end_beside:begin_raw]
    return Split(head, message[begin_beside:end_beside], raw)


def _find_raw(message: bytes) -> tuple[int, int, int] | None:
    """Where id and parameters begin and end, which are together as the fields are in
    order, and where raw contents begin.
    """
    at = last = 0
    begin_beside = end_beside = -1
    while (tag := message[at]) != _RAW:
        if tag < last or tag not in _BEFORE_RAW:
            return None
        size = message[at + 1]
        following = at + 2 + size
        if size >= _MORE:
            high = message[at + 2]
            if high >= _MORE:
                return None
            following = at + 3 + (size & 0x7F | high << 7)
        if tag in _BESIDE_HEAD:
            if begin_beside < 0:
                begin_beside = at
            end_beside = following
        at, last = following, tag
        if at > MAX_HEAD_SIZE:
            return None
    return begin_beside, end_beside, at


def _raw(message: bytes, at: int, view: memoryview | None) -> tuple[Buffer, ...] | None:
    """All contents from there on, to the end."""
    end = len(message)
    raw: list[Buffer] = []
    while at < end:
        if message[at] != _RAW or len(raw) == _MAX_RAW:
            return None
        size, shift, at = message[at + 1], 7, at + 2
        if size >= _MORE:
            size &= 0x7F
            while (more := message[at]) >= _MORE and shift <= _MAX_SHIFT:
                size |= (more & 0x7F) << shift
                shift, at = shift + 7, at + 1
            size |= more << shift  # beyond the message, if there is still more
            at += 1
        following = at + size
        if size <= FEW:
            raw.append(message[at:following])
        else:
            view = memoryview(message) if view is None else view
            raw.append(view[at:following])
        at = following
    return tuple(raw) if at == end else None

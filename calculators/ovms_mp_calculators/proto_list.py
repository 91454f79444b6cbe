"""Lists that are one payload: landmarks of ours, and messages whose one repeated field
holds the items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from google.protobuf.message import Message

from ovms_mp.formats.landmark import Landmarks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.formats.landmark import Floats

L = TypeVar("L", bound=Landmarks)


def length_of(whole: Landmarks | Message) -> int:
    """How many items there are. Raises ValueError for what is no list."""
    return len(whole if isinstance(whole, Landmarks) else _items(whole))


def part_of(whole: Any, chosen: slice) -> Any:
    """A list of the same kind with some of the items. Raises as length_of."""
    if isinstance(whole, Landmarks):
        return whole[chosen]
    part = type(whole)()
    _items(part).extend(_items(whole)[chosen])
    return part


def item_of(part: Any) -> Any:
    """The one item of a list of one: a message, or of landmarks a list of one. Raises
    as length_of.
    """
    return part if isinstance(part, Landmarks) else _items(part)[0]


def joined(lists: Sequence[Any]) -> Any:
    """One behind the other, of the first one's kind. Raises TypeError for lists of
    different kinds, and as length_of.
    """
    first = lists[0]
    for each in lists:
        if not isinstance(each, first.__class__):
            msg = f"expected {first.__class__.__name__}, found {type(each).__name__}"
            raise TypeError(msg)
    if isinstance(first, Landmarks):
        return _joined_landmarks(cast("Sequence[Landmarks]", lists))
    whole = first.__class__()
    for each in lists:
        _items(whole).extend(_items(each))
    return whole


def _joined_landmarks(lists: Sequence[L]) -> L:
    def known(values: list[Floats | None]) -> Floats | None:
        if all(each is None for each in values):
            return None
        return np.concatenate(
            [
                np.zeros(len(of), np.float32) if each is None else each
                for each, of in zip(values, lists, strict=True)
            ]
        )

    return type(lists[0])(
        np.concatenate([each.points for each in lists]),
        known([each.visibility for each in lists]),
        known([each.presence for each in lists]),
    )


def _items(message: Message) -> Any:
    fields = message.DESCRIPTOR.fields
    if len(fields) != 1:
        name = message.DESCRIPTOR.full_name
        raise ValueError(f"{name} is no message with one repeated field")
    return getattr(message, fields[0].name)

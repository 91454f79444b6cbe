"""A message that is a list: its one repeated field holds the items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

M = TypeVar("M", bound=Message)


def items_of(message: Message) -> Sequence[Any]:
    """The items. Raises ValueError for a message that is no list."""
    return getattr(message, _field(message.DESCRIPTOR))


def list_of(kind: type[M], items: Iterable[Any]) -> M:
    """A message of `kind` with copies of the items. Raises ValueError as items_of."""
    message = kind()
    getattr(message, _field(kind.DESCRIPTOR)).extend(items)
    return message


def _field(descriptor: Any) -> str:
    fields = descriptor.fields
    if len(fields) != 1:
        raise ValueError(
            f"{descriptor.full_name} is no message with one repeated field"
        )
    return fields[0].name

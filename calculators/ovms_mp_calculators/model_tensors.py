"""A vector of a model's outputs remembers which they are, so that who reads it can say
whose tensor is not as it should be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex, cast, overload

from ovms_mp.core.tensor import Array

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self


class ModelTensors(list[Array]):
    """The outputs `names` of `model`; a part of it knows its names, too."""

    def __init__(
        self, tensors: Sequence[Array], names: Sequence[str], model: str
    ) -> None:
        super().__init__(tensors)
        self.names = names
        self.model = model

    @overload
    def __getitem__(self, index: SupportsIndex) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Array | Self:
        found = super().__getitem__(index)
        if isinstance(index, slice):
            tensors = cast("list[Array]", found)
            return type(self)(tensors, self.names[index], self.model)
        return cast("Array", found)


def named(tensors: Sequence[Any], place: int) -> str:
    """What a message calls one of them."""
    if isinstance(tensors, ModelTensors):
        return f'output "{tensors.names[place]}" of model "{tensors.model}"'
    return "a tensor"

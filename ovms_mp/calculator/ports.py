"""A port is declared on the class and bound for a node: declarations say what a
calculator needs, bound ports say where a graph put it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, overload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)  # what Input(Any) is, which says no type
else:
    from typing import TypeVar

    T = TypeVar("T")

ANY_TAG: Final = "*"
"""Tag of a repeated port that takes every stream no other port of the class claims."""


@dataclass(frozen=True, slots=True)
class BoundPort(Generic[T]):
    """A stream or side packet of one node: `TAG:index:name` in the pbtxt.

    `slot` is the position among the node's inputs (outputs, side packets).
    """

    slot: int
    tag: str
    index: int
    name: str

    @property
    def label(self) -> str:
        """The text form without the name's redundancy: `TAG:0:name`, `TAG:name`."""
        if not self.tag:
            return self.name
        return f"{self.tag}:{self.name}" if not self.index else self._indexed()

    def _indexed(self) -> str:
        return f"{self.tag}:{self.index}:{self.name}"


class InputPort(BoundPort[T]):
    """Where `process` finds packets of an input stream."""

    __slots__ = ()


class OutputPort(BoundPort[T]):
    """Where `process` sends packets of an output stream."""

    __slots__ = ()


class SidePort(BoundPort[T]):
    """A side packet of a node, in or out."""

    __slots__ = ()


PortT = TypeVar("PortT", bound=BoundPort[Any])


def tagged(ports: Iterable[PortT], tag: str) -> list[PortT]:
    """Those of a tag, by their index."""
    return sorted((each for each in ports if each.tag == tag), key=lambda p: p.index)


class Declaration(Generic[T]):
    """What all declarations share: payload type, tag, and how many streams fit.

    `payload` is a class, or Any for what nobody can say before it comes. Without
    `optional` a node must have the stream; of a repeated declaration, at least one.
    """

    repeated: ClassVar[bool] = False
    default_tag: ClassVar[str] = ""

    # Any is no class for type checkers.
    @overload
    def __init__(
        self, payload: type[T], tag: str | None = None, *, optional: bool = False
    ) -> None: ...
    @overload
    def __init__(
        self,
        payload: object,
        tag: str | None = None,
        *,
        optional: bool = False,
    ) -> None: ...
    def __init__(
        self, payload: Any, tag: str | None = None, *, optional: bool = False
    ) -> None:
        self.payload = payload
        self.tag = self.default_tag if tag is None else tag
        self.optional = optional
        self.attribute = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.payload!r}, {self.tag!r})"


class Input(Declaration[T]):
    """One input stream: `value = Input(float, "VALUE")`."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> InputPort[T]: ...
    def __get__(self, instance: object | None, owner: type) -> Self | InputPort[T]:
        return _declaration_of(self, instance)


class Output(Declaration[T]):
    """One output stream: `scaled = Output(float, "SCALED")`."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> OutputPort[T]: ...
    def __get__(self, instance: object | None, owner: type) -> Self | OutputPort[T]:
        return _declaration_of(self, instance)


class SideInput(Declaration[T]):
    """One input side packet: `session = SideInput(InferenceSession, "SESSION")`."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> SidePort[T]: ...
    def __get__(self, instance: object | None, owner: type) -> Self | SidePort[T]:
        return _declaration_of(self, instance)


class SideOutput(Declaration[T]):
    """One output side packet, set once per run."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> SidePort[T]: ...
    def __get__(self, instance: object | None, owner: type) -> Self | SidePort[T]:
        return _declaration_of(self, instance)


class Inputs(Declaration[T]):
    """All input streams of a tag, by index; of every unclaimed tag with `ANY_TAG`, in
    the order of the pbtxt.
    """

    repeated = True
    default_tag = ANY_TAG

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> tuple[InputPort[T], ...]: ...
    def __get__(
        self, instance: object | None, owner: type
    ) -> Self | tuple[InputPort[T], ...]:
        return _declaration_of(self, instance)


class Outputs(Declaration[T]):
    """All output streams of a tag, as `Inputs`."""

    repeated = True
    default_tag = ANY_TAG

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> tuple[OutputPort[T], ...]: ...
    def __get__(
        self, instance: object | None, owner: type
    ) -> Self | tuple[OutputPort[T], ...]:
        return _declaration_of(self, instance)


class SideInputs(Declaration[T]):
    """All input side packets of a tag, as `Inputs`."""

    repeated = True
    default_tag = ANY_TAG

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> tuple[SidePort[T], ...]: ...
    def __get__(
        self, instance: object | None, owner: type
    ) -> Self | tuple[SidePort[T], ...]:
        return _declaration_of(self, instance)


class SideOutputs(Declaration[T]):
    """All output side packets of a tag, as `Inputs`; each is set once per run."""

    repeated = True
    default_tag = ANY_TAG

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> tuple[SidePort[T], ...]: ...
    def __get__(
        self, instance: object | None, owner: type
    ) -> Self | tuple[SidePort[T], ...]:
        return _declaration_of(self, instance)


class Options(Generic[T]):
    """The options message of a calculator: `options = Options(ScaleOptions)`.

    The instance attribute is the message that the pbtxt gives, in `node_options` or in
    `options`, or an empty one. A message with required fields must be given, unless the
    options are `optional` and the calculator judges by itself.
    """

    def __init__(self, message: type[T], *, optional: bool = False) -> None:
        self.message = message
        self.optional = optional
        self.attribute = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | T:
        return _declaration_of(self, instance)


def _declaration_of(declaration: Any, instance: object | None) -> Any:
    # A node's instance dictionary holds its bound ports and shadows the declaration, so
    # an instance gets here only when no graph has placed it.
    if instance is not None:
        msg = (
            f"{type(instance).__name__} is not a node of a graph: use CalculatorRunner"
        )
        raise AttributeError(msg)
    return declaration

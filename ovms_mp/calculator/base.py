"""A calculator declares its contract on the class and keeps its state in the instance.

The life of an instance is one graph run: open, process for each set of inputs, close.
Calls never overlap, but the thread may change from one to the next. Semantics are those
of MediaPipe's CalculatorBase.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, get_origin

from ovms_mp.calculator.ports import (
    ANY_TAG,
    Declaration,
    Input,
    InputPort,
    Inputs,
    Options,
    Output,
    OutputPort,
    Outputs,
    SideInput,
    SideInputs,
    SideOutput,
    SideOutputs,
    SidePort,
)
from ovms_mp.calculator.services import Services

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ovms_mp.calculator.context import Context
    from ovms_mp.calculator.foreseen import Foreseen
    from ovms_mp.calculator.services import InferenceSession
    from ovms_mp.core.messages import TensorInfo


class ContractError(Exception):
    """A node does not fit its calculator's contract, or the contract itself is wrong."""


class CalculatorError(Exception):
    """Fails a run with this text for the client, and with absl's `code` for it.

    UNAVAILABLE, DEADLINE_EXCEEDED and FAILED_PRECONDITION are the client's status, too;
    with any other code that is OVMS's for a run that failed.
    """

    def __init__(self, text: str, code: str = "INTERNAL") -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A calculator's place in a graph; the same for all runs of the graph.

    A node that the pbtxt does not name has its calculator's `name`. `options` maps full
    message names to the messages that the pbtxt gives. `base_path` is the graph's
    directory. `is_namesake` tells that an earlier node of the same calculator has the
    same name; `max_in_flight` how many of its calls may wait at a time. `input_policy` is
    the input stream handler that the pbtxt names, if it does.
    """

    name: str
    calculator: str
    inputs: tuple[InputPort[Any], ...] = ()
    outputs: tuple[OutputPort[Any], ...] = ()
    side_inputs: tuple[SidePort[Any], ...] = ()
    side_outputs: tuple[SidePort[Any], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    base_path: Path = Path()
    services: Services = field(default_factory=Services)
    is_named: bool = True
    is_namesake: bool = False
    max_in_flight: int = 1
    input_policy: str = ""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """When a node is called, where its pbtxt does not say (CalculatorContract)."""

    input_policy: str = ""
    process_timestamp_bounds: bool = False


class Calculator:
    """Base of all calculators; subclass, declare ports, write `process`.

    One with outputs and no inputs is a source: process is called, at timestamp 0, until
    it stops.
    """

    timestamp_offset: int | None = None
    """Outputs carry the input timestamp plus this (SetOffset). 0 lets a consumer know
    at once that no packet comes for an input; None promises nothing. An instance may
    decide in `open`."""

    process_timestamp_bounds: ClassVar[bool] = False
    """Call process for timestamps that are settled without a packet, too
    (SetProcessTimestampBounds)."""

    input_policy: ClassVar[str] = ""
    """The input stream handler where the pbtxt names none, by MediaPipe's name; empty
    for DefaultInputStreamHandler (SetInputStreamHandler)."""

    max_in_flight: ClassVar[int] = 1
    """How many process calls may wait for their `Context.wait` at a time, unless the
    pbtxt's `max_in_flight` says otherwise."""

    requires_side_inputs: ClassVar[bool] = False
    """A run must give every side packet that a node names, optional ports too: these
    the node need not name."""

    is_short: ClassVar[bool] = False
    """Says of this very class, not of those derived from it, that its methods return in
    some microseconds and wait for nothing but by `Context.wait`. A graph of only such
    calculators may run in a thread that reads for many clients, while that is measured
    to be short."""

    node: NodeInfo
    shared: Any
    """What `load` returned: one value for all runs of a graph."""

    @classmethod
    def behaviour(cls, node: NodeInfo) -> Behaviour:
        """The two of the class; override it where a node's options or ports decide."""
        return Behaviour(cls.input_policy, cls.process_timestamp_bounds)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Judge a node when its graph is loaded. Raises ContractError."""

    @classmethod
    def load(cls, node: NodeInfo) -> Any:
        """Make what all runs of a graph share, once, when the graph is loaded.

        Raises ContractError or ServingError; the graph is then not served.
        """

    @classmethod
    def known_tensors(
        cls, node: NodeInfo, shared: Any, sessions: Mapping[str, InferenceSession]
    ) -> Mapping[str, TensorInfo]:
        """What the node says of tensors, frames and Tensors on its streams, by the
        streams' names: of what it makes and takes by itself, and what the models say
        that come as side packets, by their names. A graph's metadata have it from here.
        `shared` is what `load` returned.
        """
        return {}

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """Pairs of streams: what comes on the first may leave on the second, with the
        same datatype and shape. What is known of the one is then known of the other.
        """
        return ()

    @classmethod
    def foresee(
        cls,
        node: NodeInfo,
        shared: Any,
        side_packets: Mapping[str, object],
        coming: Mapping[str, Sequence[Foreseen]],
    ) -> Mapping[str, Sequence[Foreseen]]:
        """What will leave, by the names of streams, if this comes: of a stream of lists
        the tensors of each of them, of one of single tensors that one. What is not known
        is not there, and what is `passed_on` needs no word. `side_packets` are those that
        all runs have in common, models and arrays.

        Raises ContractError, and ValueError as `process` does, for what the node could
        never take; the graph is then not served.
        """
        return {}

    @classmethod
    def unload(cls, shared: Any) -> None:
        """Release what `load` made, after the graph's last run."""

    def open(self, ctx: Context) -> None:
        """Before the first process: side packets are there, packets may be sent."""

    def process(self, ctx: Context) -> None:
        """For each set of inputs that the node's input policy makes ready."""
        raise NotImplementedError

    def close(self, ctx: Context) -> None:
        """Once after a successful open, also when the run failed; packets may be sent."""


@dataclass(frozen=True, slots=True)
class Contract:
    """The declarations of a calculator class, checked for sense."""

    inputs: tuple[Declaration[Any], ...]
    outputs: tuple[Declaration[Any], ...]
    side_inputs: tuple[Declaration[Any], ...]
    side_outputs: tuple[Declaration[Any], ...]
    options: Options[Any] | None

    @classmethod
    def of(cls, calculator: type[Calculator]) -> Contract:
        """Read the class. Raises ContractError, in one line, for what no graph could
        make work.
        """
        found: dict[str, Any] = {}
        for base in reversed(calculator.__mro__):
            found.update(vars(base))
        declared: dict[str, Declaration[Any] | Options[Any]] = {
            name: each
            for name, each in found.items()
            if isinstance(each, Declaration | Options)
        }
        for name, each in declared.items():
            _check_declaration(name, each)
        options: list[Options[Any]] = [
            each for each in declared.values() if isinstance(each, Options)
        ]
        if len(options) > 1:
            names = ", ".join(f"'{each.attribute}'" for each in options)
            msg = f"options are declared more than once: {names}"
            raise ContractError(msg)
        ports = declared.values()
        contract = cls(
            inputs=_ports("input", ports, Input, Inputs),
            outputs=_ports("output", ports, Output, Outputs),
            side_inputs=_ports("input side packet", ports, SideInput, SideInputs),
            side_outputs=_ports("output side packet", ports, SideOutput, SideOutputs),
            options=options[0] if options else None,
        )
        _check_class(calculator, contract)
        return contract


# As in a pbtxt.
_TAG: Final = re.compile(r"[A-Z_][A-Z0-9_]*")


def _check_declaration(name: str, declared: Declaration[Any] | Options[Any]) -> None:
    if hasattr(Calculator, name) or name in Calculator.__annotations__:
        msg = f"'{name}' is a name of Calculator's own: no port may have it"
        raise ContractError(msg)
    if declared.attribute != name:
        other = declared.attribute or "no class"
        msg = f"'{name}' and '{other}' share a declaration: each port needs its own"
        raise ContractError(msg)
    if isinstance(declared, Options):
        if not hasattr(declared.message, "DESCRIPTOR"):
            msg = f"options '{name}' are no protobuf message: {declared.message!r}"
            raise ContractError(msg)
        return
    # isinstance(list[int], type) is true in Python 3.11.
    is_class = isinstance(declared.payload, type) and not get_origin(declared.payload)
    if declared.payload is not Any and not is_class:
        msg = (
            f"port '{name}' has the payload {declared.payload!r}: name a class, or Any"
        )
        raise ContractError(msg)
    is_any = declared.tag == ANY_TAG
    if declared.tag and not (declared.repeated if is_any else _is_tag(declared.tag)):
        msg = f"port '{name}' has the tag {declared.tag!r}: no pbtxt can give that"
        raise ContractError(msg)


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and _TAG.fullmatch(tag) is not None


def _check_class(calculator: type[Calculator], contract: Contract) -> None:
    offset: object = calculator.timestamp_offset
    if offset is not None and type(offset) is not int:
        msg = f"timestamp_offset should be an int or None, not {offset!r}"
        raise ContractError(msg)
    limit: object = calculator.max_in_flight
    if type(limit) is not int or limit < 1:
        msg = f"max_in_flight should be an int of at least 1, not {limit!r}"
        raise ContractError(msg)
    bounds: object = calculator.process_timestamp_bounds
    if bounds not in (True, False):
        msg = f"process_timestamp_bounds should be True or False, not {bounds!r}"
        raise ContractError(msg)
    has_streams = contract.inputs or contract.outputs
    if has_streams and calculator.process is Calculator.process:
        raise ContractError("process is not written")
    for method in ("open", "process", "close"):
        if inspect.iscoroutinefunction(getattr(calculator, method)):
            msg = f"{method} is a coroutine: for what comes later there is Context.wait"
            raise ContractError(msg)
    try:
        inspect.signature(calculator).bind()
    except TypeError as error:
        msg = f"a run makes instances without arguments: {error}"
        raise ContractError(msg) from error
    if inspect.isabstract(calculator):
        raise ContractError("the class is abstract")


def _ports(kind: str, declared: Any, *types: type[Any]) -> tuple[Declaration[Any], ...]:
    ports = tuple(each for each in declared if isinstance(each, types))
    by_tag: dict[str, Declaration[Any]] = {}
    for port in ports:
        other = by_tag.setdefault(port.tag, port)
        if other is not port:
            msg = (
                f"{kind} '{port.tag}' is declared twice "
                f"(ports '{other.attribute}' and '{port.attribute}')"
            )
            raise ContractError(msg)
    return ports

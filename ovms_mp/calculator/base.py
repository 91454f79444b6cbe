"""A calculator declares its contract on the class and keeps its state in the instance.

The life of an instance is one graph run: open, process for each set of inputs, close.
Calls never overlap, but the thread may change from one to the next. Semantics are those
of MediaPipe's CalculatorBase.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ovms_mp.calculator.ports import (
    Declaration,
    Input,
    InputPort,
    Inputs,
    Options,
    Output,
    OutputPort,
    Outputs,
    SideInput,
    SideOutput,
    SidePort,
)
from ovms_mp.calculator.services import Services

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.calculator.context import Context


class ContractError(Exception):
    """A node does not fit its calculator's contract, or the contract itself is wrong."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A calculator's place in a graph; the same for all runs of the graph.

    A node that the pbtxt does not name has its calculator's `name`. `options` maps full
    message names to the messages that the pbtxt gives. `base_path` is the graph's
    directory. `is_namesake` tells that an earlier node of the same calculator has the
    same name.
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


class Calculator:
    """Base of all calculators; subclass, declare ports, write `process`."""

    timestamp_offset: ClassVar[int | None] = None
    """Outputs carry the input timestamp plus this (SetOffset). 0 lets a consumer know
    at once that no packet comes for an input; None promises nothing."""

    max_in_flight: ClassVar[int] = 1
    """How many process calls may wait for their `Context.wait` at a time, unless the
    pbtxt's `max_in_flight` says otherwise."""

    node: NodeInfo
    shared: Any
    """What `load` returned: one value for all runs of a graph."""

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Judge a node when its graph is loaded. Raises ContractError."""

    @classmethod
    def load(cls, node: NodeInfo) -> Any:
        """Make what all runs of a graph share, once, when the graph is loaded.

        Raises ContractError or ServingError; the graph is then not served.
        """

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
        """Read the class. Raises ContractError when two ports claim one tag."""
        found: dict[str, Any] = {}
        for base in reversed(calculator.__mro__):
            found.update(vars(base))
        declared = found.values()
        options: list[Options[Any]] = [
            each for each in declared if isinstance(each, Options)
        ]
        if len(options) > 1:
            names = ", ".join(f"'{each.attribute}'" for each in options)
            msg = f"options are declared more than once: {names}"
            raise ContractError(msg)
        return cls(
            inputs=_ports("input", declared, Input, Inputs),
            outputs=_ports("output", declared, Output, Outputs),
            side_inputs=_ports("input side packet", declared, SideInput),
            side_outputs=_ports("output side packet", declared, SideOutput),
            options=options[0] if options else None,
        )


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

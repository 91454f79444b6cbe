"""A node's streams meet its calculator's contract: each stream finds its port."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ovms_mp.calculator.base import Contract, ContractError
from ovms_mp.calculator.ports import (
    ANY_TAG,
    BoundPort,
    Declaration,
    InputPort,
    OutputPort,
    SidePort,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.graph.config import NodeConfig, StreamName

_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class Binding:
    """The ports of one node, and what each of them carries: a class, or Any.
    `attributes` is what its instances carry: a port, or a tuple of ports, by the name of
    the declaration; and the options.
    """

    inputs: tuple[InputPort[Any], ...] = ()
    outputs: tuple[OutputPort[Any], ...] = ()
    side_inputs: tuple[SidePort[Any], ...] = ()
    side_outputs: tuple[SidePort[Any], ...] = ()
    input_payloads: tuple[Any, ...] = ()
    output_payloads: tuple[Any, ...] = ()
    side_input_payloads: tuple[Any, ...] = ()
    side_inputs_optional: tuple[bool, ...] = ()
    side_output_payloads: tuple[Any, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])


def bind(node: NodeConfig, contract: Contract) -> Binding:
    """Raises ContractError, naming the port, when the node does not fit."""
    bound = Binding()
    inputs = _Side("input stream", node.inputs, contract.inputs)
    bound.inputs = inputs.ports(InputPort, bound.attributes)
    bound.input_payloads = inputs.payloads
    outputs = _Side("output stream", node.outputs, contract.outputs)
    bound.outputs = outputs.ports(OutputPort, bound.attributes)
    bound.output_payloads = outputs.payloads
    side = _Side("input side packet", node.side_inputs, contract.side_inputs)
    bound.side_inputs = side.ports(SidePort, bound.attributes)
    bound.side_input_payloads = side.payloads
    bound.side_inputs_optional = side.optionals
    side = _Side("output side packet", node.side_outputs, contract.side_outputs)
    bound.side_outputs = side.ports(SidePort, bound.attributes)
    bound.side_output_payloads = side.payloads
    _bind_options(node, contract, bound.attributes)
    return bound


class _Side:
    """One kind of streams of a node, against the declarations of that kind."""

    def __init__(
        self,
        kind: str,
        names: Sequence[StreamName],
        declared: Sequence[Declaration[Any]],
    ) -> None:
        self._kind = kind
        self._names = names
        self._declared = declared
        by_tag = {each.tag: each for each in declared}
        self._claimed = [by_tag.get(name.tag, by_tag.get(ANY_TAG)) for name in names]
        self.payloads = tuple(
            _checked(each.payload) if each is not None else Any
            for each in self._claimed
        )
        self.optionals = tuple(
            each is not None and each.optional for each in self._claimed
        )

    def ports(self, kind: Any, attributes: dict[str, Any]) -> tuple[Any, ...]:
        """Bind; put each declaration's port or ports among the attributes."""
        ports = tuple(
            kind(slot, name.tag, name.index, name.name)
            for slot, name in enumerate(self._names)
        )
        for port, claimed in zip(ports, self._claimed, strict=True):
            if claimed is None:
                msg = f'{self._kind} "{port.label}" is unknown: {self._expected()}'
                raise ContractError(msg)
        for declaration in self._declared:
            attributes[declaration.attribute] = self._of(declaration, ports)
        return ports

    def _of(
        self, declaration: Declaration[Any], ports: Sequence[BoundPort[Any]]
    ) -> Any:
        mine = [
            port
            for port, claimed in zip(ports, self._claimed, strict=True)
            if claimed is declaration
        ]
        if not mine and not declaration.optional:
            msg = f"{self._kind} {_tag(declaration.tag)} is missing"
            raise ContractError(msg)
        if declaration.repeated:
            if declaration.tag != ANY_TAG:
                mine.sort(key=lambda port: port.index)
            return tuple(mine)
        if len(mine) > 1:
            msg = (
                f"{self._kind} {_tag(declaration.tag)} is given {len(mine)} times, "
                "it may stand once"
            )
            raise ContractError(msg)
        return mine[0] if mine else None

    def _expected(self) -> str:
        if not self._declared:
            return "the calculator has none"
        tags = ", ".join(_tag(each.tag) for each in self._declared)
        return f"the calculator has {tags}"


def _checked(payload: Any) -> Any:
    """A class that isinstance and issubclass know; a protocol says too little."""
    return Any if getattr(payload, "_is_protocol", False) else payload


def _tag(tag: str) -> str:
    return "without a tag" if not tag else "of any tag" if tag == ANY_TAG else tag


def _bind_options(
    node: NodeConfig, contract: Contract, attributes: dict[str, Any]
) -> None:
    wanted, given = contract.options, node.options
    name = "" if wanted is None else wanted.message.DESCRIPTOR.full_name
    if wanted is not None:
        message = given.get(name)
        if message is None:
            message = wanted.message()
        elif not isinstance(message, wanted.message):
            # The same message of another descriptor pool.
            message = wanted.message.FromString(message.SerializePartialToString())
        if not wanted.optional and not message.IsInitialized():
            msg = f"{name} are missing, which the calculator requires"
            raise ContractError(msg)
        attributes[wanted.attribute] = message
    for other in given:
        if other != name:  # MediaPipe does not look at them
            text = "%s:%d: options %s are not those of %s, and have no effect"
            _log.warning(text, node.file, node.line, other, node.calculator)

"""Packets go on as they came: PassThroughCalculator.

    node {
      calculator: "PassThroughCalculator"
      input_stream: "in"      # anything
      output_stream: "out"    # the same, at the same timestamp
    }

As MediaPipe's: any number of streams, each input's tag and index being that of one
output. Side packets pass as well; inputs among them may be left without an output as
long as no side packet has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from ovms_mp.calculator import (
    ANY_TAG,
    EMPTY,
    Calculator,
    ContractError,
    Inputs,
    Outputs,
    SideInput,
    SideOutput,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort
    from ovms_mp.calculator.ports import BoundPort

_ANYTHING: Final = cast("type[Any]", Any)


class _SideInputs(SideInput[Any]):
    repeated = True


class _SideOutputs(SideOutput[Any]):
    repeated = True


class PassThroughCalculator(Calculator):
    """Sends each input's packet on the output with the same tag and index."""

    is_short = True
    requires_side_inputs = True
    inputs = Inputs(_ANYTHING, optional=True)
    outputs = Outputs(_ANYTHING, optional=True)
    side_inputs = _SideInputs(_ANYTHING, ANY_TAG, optional=True)
    side_outputs = _SideOutputs(_ANYTHING, ANY_TAG, optional=True)
    timestamp_offset = 0

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Streams and side packets come in pairs."""
        _check_pairs("streams", node.inputs, node.outputs)
        if node.side_outputs:
            _check_pairs("side packets", node.side_inputs, node.side_outputs)

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """All of them."""
        outputs = {(port.tag, port.index): port for port in node.outputs}
        return [(port, outputs[port.tag, port.index]) for port in node.inputs]

    def open(self, ctx: Context) -> None:
        """Pair the ports; side packets pass here."""
        outputs = {(port.tag, port.index): port for port in self.outputs}
        self._pairs = [
            (port.slot, outputs[port.tag, port.index]) for port in self.inputs
        ]
        sources = {(port.tag, port.index): port for port in self.node.side_inputs}
        for port in self.node.side_outputs:
            ctx.set_side(port, ctx.side(sources[port.tag, port.index]))

    def process(self, ctx: Context) -> None:
        """Pass what there is."""
        inputs = ctx.inputs
        for slot, target in self._pairs:
            if inputs[slot] is not EMPTY:
                ctx.send(target, inputs[slot])


def _check_pairs(
    kind: str, inputs: Sequence[BoundPort[Any]], outputs: Sequence[BoundPort[Any]]
) -> None:
    given = {(port.tag, port.index) for port in inputs}
    taken = {(port.tag, port.index) for port in outputs}
    unpaired = given ^ taken
    if unpaired:
        names = ", ".join(
            port.label
            for port in (*inputs, *outputs)
            if (port.tag, port.index) in unpaired
        )
        raise ContractError(
            f"input and output {kind} must use matching tags and indexes, "
            f"these have no partner: {names}"
        )

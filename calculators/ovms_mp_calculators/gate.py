"""Packets pass or do not, as another stream says: GateCalculator.

    node {
      calculator: "GateCalculator"
      input_stream: "frames"
      input_stream: "ALLOW:has_face"
      output_stream: "frames_with_a_face"
    }

As MediaPipe's: ALLOW or DISALLOW is a stream of bools or a side packet; a time without a
packet on the stream does not pass, unless `empty_packets_as_allow` is set; without either
the option `allow` decides. STATE_CHANGE sends the new state when it changes, from
`initial_gate_state` on. A side packet that forbids closes the outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Inputs,
    Options,
    Output,
    Outputs,
    SideInput,
    tagged,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort

_OPTIONS: Final = graph.GateCalculatorOptions
_TAGS: Final = ("ALLOW", "DISALLOW")


class GateCalculator(Calculator):
    """Opens and shuts."""

    is_short = True
    timestamp_offset = 0

    data = Inputs(Any, "")
    allow = Input(bool, "ALLOW", optional=True)
    disallow = Input(bool, "DISALLOW", optional=True)
    passed = Outputs(Any, "")
    state_change = Output(bool, "STATE_CHANGE", optional=True)
    side_allow = SideInput(bool, "ALLOW", optional=True)
    side_disallow = SideInput(bool, "DISALLOW", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One who decides, and as many outputs as inputs."""
        deciders = [
            port.label
            for port in (*node.inputs, *node.side_inputs)
            if port.tag in _TAGS
        ]
        if len(deciders) > 1:
            names = ", ".join(deciders)
            raise ContractError(f"one of ALLOW and DISALLOW may decide, found {names}")
        given = sum(not port.tag for port in node.inputs)
        made = sum(not port.tag for port in node.outputs)
        if given != made:
            raise ContractError(
                f"{given} input streams without a tag need as many output streams, "
                f"found {made}"
            )

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """What passes."""
        return zip(tagged(node.inputs, ""), tagged(node.outputs, ""), strict=True)

    def open(self, ctx: Context) -> None:
        """Who decides."""
        self._pairs = list(zip(self.data, self.passed, strict=True))
        self._state = self.options.initial_gate_state
        self._fixed: bool | None = None
        self._is_by_side_packet = False
        if self.side_allow and ctx.has_side(self.side_allow):
            self._fixed, self._is_by_side_packet = ctx.side(self.side_allow), True
        elif self.side_disallow and ctx.has_side(self.side_disallow):
            self._fixed, self._is_by_side_packet = (
                not ctx.side(self.side_disallow),
                True,
            )
        elif not self.allow and not self.disallow:
            self._fixed = self.options.allow

    def process(self, ctx: Context) -> None:
        """Let pass what may."""
        is_open = self._decides(ctx) if self._fixed is None else self._fixed
        state = _OPTIONS.GATE_ALLOW if is_open else _OPTIONS.GATE_DISALLOW
        was_known = self._state != _OPTIONS.GATE_UNINITIALIZED
        if self.state_change and was_known and self._state != state:
            ctx.send(self.state_change, is_open)
        self._state = state
        for source, target in self._pairs:
            if is_open and ctx.has(source):
                ctx.send(target, ctx[source])
            elif not is_open and self._is_by_side_packet:
                ctx.close(target)

    def _decides(self, ctx: Context) -> bool:
        if self.allow and ctx.has(self.allow):
            return ctx[self.allow]
        if self.disallow and ctx.has(self.disallow):
            return not ctx[self.disallow]
        return self.options.empty_packets_as_allow

"""The latest packets, again at every tick: PacketClonerCalculator.

    node {
      calculator: "PacketClonerCalculator"
      input_stream: "slow_landmarks"
      input_stream: "TICK:frames"
      output_stream: "landmarks_of_each_frame"
    }

As MediaPipe's: for each packet of TICK, or of the last input, the newest packet of every
other input leaves at its timestamp. `output_only_when_all_inputs_received` holds all back
until each input has had one, without a bound meanwhile;
`output_packets_only_when_all_inputs_received` does so with bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    EMPTY,
    Calculator,
    ContractError,
    Input,
    Inputs,
    Options,
    Outputs,
    tagged,
)
from ovms_mp.core.timestamp import next_allowed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort

_OPTIONS: Final = graph.PacketClonerCalculatorOptions


class PacketClonerCalculator(Calculator):
    """Repeats."""

    is_short = True
    process_timestamp_bounds = True

    inputs = Inputs(Any, "", optional=True)
    tick = Input(Any, "TICK", optional=True)
    clones = Outputs(Any, "", optional=True)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """A tick, and as many outputs as there are other inputs."""
        others = sum(not port.tag for port in node.inputs)
        if not any(port.tag == "TICK" for port in node.inputs):
            others -= 1
        if others < 0 or len(node.outputs) != others:
            raise ContractError(
                f"expected an output for each of {max(others, 0)} inputs beside the "
                f"tick, found {len(node.outputs)}"
            )

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """Its clones."""
        return zip(tagged(node.inputs, ""), tagged(node.outputs, ""), strict=False)

    def open(self, ctx: Context) -> None:
        """Nothing has come."""
        sources = list(self.inputs)
        self._tick = self.tick or sources.pop()
        self._pairs = list(zip(sources, self.clones, strict=True))
        self._latest: list[Any] = [EMPTY] * len(sources)
        options = self.options
        self._waits_for_all = (
            options.output_only_when_all_inputs_received
            or options.output_packets_only_when_all_inputs_received
        )
        self._settles = options.output_packets_only_when_all_inputs_received

    def process(self, ctx: Context) -> None:
        """Keep the newest; send them at a tick."""
        for number, (source, _) in enumerate(self._pairs):
            if ctx.has(source):
                self._latest[number] = ctx[source]
        has_all = all(each is not EMPTY for each in self._latest)
        if ctx.has(self._tick) and (has_all or not self._waits_for_all):
            for payload, (_, target) in zip(self._latest, self._pairs, strict=True):
                if payload is not EMPTY:
                    ctx.send(target, payload)
        may_settle = has_all or self._settles or not self._waits_for_all
        if may_settle and ctx.settled(self._tick) == ctx.timestamp:
            for _, target in self._pairs:
                ctx.set_next_bound(target, next_allowed(ctx.timestamp))

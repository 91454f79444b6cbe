"""Whatever comes first, as soon as it comes: ImmediateMuxCalculator.

    node {
      calculator: "ImmediateMuxCalculator"
      input_stream: "fast"
      input_stream: "slow"
      output_stream: "first"
      output_stream: "has_come"
      input_stream_handler { input_stream_handler: "ImmediateInputStreamHandler" }
    }

As MediaPipe's: packets pass in the order of coming; one that is earlier than what has
passed is dropped. A second output sends `true` for every packet that comes. With
`process_timestamp_bounds` bounds pass, too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, ContractError, Inputs, Options, Outputs
from ovms_mp.calculator.base import Behaviour
from ovms_mp.core.timestamp import MAX, PRESTREAM, next_allowed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort
    from ovms_mp.core.timestamp import Timestamp

log = logging.getLogger(__name__)

_OPTIONS: Final = graph.ImmediateMuxCalculatorOptions


class ImmediateMuxCalculator(Calculator):
    """First come, first served."""

    inputs = Inputs(Any)
    outputs = Outputs(Any)
    options = Options(_OPTIONS)

    @classmethod
    def behaviour(cls, node: NodeInfo) -> Behaviour:
        """Bounds are processed if the options say so."""
        given = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        return Behaviour(process_timestamp_bounds=given.process_timestamp_bounds)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One output or two."""
        if len(node.outputs) > 2:
            count = len(node.outputs)
            raise ContractError(f"expected one or two output streams, found {count}")

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """What came first."""
        return [(port, node.outputs[0]) for port in node.inputs]

    def open(self, ctx: Context) -> None:
        """Nothing has passed."""
        self._does_bounds = self.options.process_timestamp_bounds
        self.timestamp_offset = None if self._does_bounds else 0
        self._bound: Timestamp = PRESTREAM
        self._is_closed = False

    def process(self, ctx: Context) -> None:
        """Pass what is not late."""
        present = [port for port in self.inputs if ctx.has(port)]
        for port in present:
            if ctx.timestamp >= self._bound:
                ctx.send(self.outputs[0], ctx[port])
                self._bound = next_allowed(ctx.timestamp)
            else:
                log.warning("%s: a packet at %d is late", self.node.name, ctx.timestamp)
        for target in self.outputs[1:]:
            at = max(ctx.timestamp, ctx.next_bound(target))
            for number in range(len(present)):
                ctx.send(target, True, at=at + number)
        if self._does_bounds and not present and ctx.timestamp >= self._bound:
            self._settle(ctx)

    def _settle(self, ctx: Context) -> None:
        if self._is_closed:
            return
        self._is_closed = ctx.timestamp >= MAX
        self._bound = next_allowed(ctx.timestamp)
        for target in self.outputs:
            if self._is_closed:
                ctx.close(target)
            elif self._bound >= ctx.next_bound(target):
                ctx.set_next_bound(target, self._bound)

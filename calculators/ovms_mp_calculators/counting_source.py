"""A source of numbers: CountingSourceCalculator.

    node {
      calculator: "CountingSourceCalculator"
      input_side_packet: "MAX_COUNT:calls"
      output_stream: "numbers"           # int, each at the timestamp of its value
    }

As MediaPipe's. Side packets, all int but the last: `MAX_COUNT`, after how many calls
the source ends; `ERROR_COUNT`, after how many it fails (one of the two is needed);
`BATCH_SIZE`, numbers per call (1); `INITIAL_VALUE` (0); `INCREMENT` (1);
`ERROR_ON_OPEN`, bool, fail at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator import Calculator, ContractError, Output, SideInput

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.calculator.ports import SidePort


class CountingSourceCalculator(Calculator):
    """Sends a batch of numbers per call."""

    numbers = Output(int)
    max_count = SideInput(int, "MAX_COUNT", optional=True)
    error_count = SideInput(int, "ERROR_COUNT", optional=True)
    batch_size = SideInput(int, "BATCH_SIZE", optional=True)
    initial_value = SideInput(int, "INITIAL_VALUE", optional=True)
    increment = SideInput(int, "INCREMENT", optional=True)
    error_on_open = SideInput(bool, "ERROR_ON_OPEN", optional=True)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Something must end it."""
        if not {"MAX_COUNT", "ERROR_COUNT"} & {port.tag for port in node.side_inputs}:
            raise ContractError(
                "an input side packet MAX_COUNT or ERROR_COUNT is needed"
            )

    def open(self, ctx: Context) -> None:
        """Read the side packets."""
        if _value(ctx, self.error_on_open, default=False):
            raise RuntimeError("expected error")
        self._error_count = _value(ctx, self.error_count, default=-1)
        self._max_count = _value(ctx, self.max_count, default=-1)
        self._batch_size = _value(ctx, self.batch_size, default=1)
        self._value = _value(ctx, self.initial_value, default=0)
        self._increment = _value(ctx, self.increment, default=1)
        self._calls = 0
        if self._error_count < 0 and self._max_count < 0:
            raise ValueError("MAX_COUNT or ERROR_COUNT must be 0 or more")
        if self._batch_size < 1 or self._increment < 1:
            raise ValueError("BATCH_SIZE and INCREMENT must be more than 0")

    def process(self, ctx: Context) -> None:
        """A batch, the error or the end."""
        if 0 <= self._error_count <= self._calls:
            raise RuntimeError("expected error")
        if 0 <= self._max_count <= self._calls:
            ctx.stop()
            return
        for _ in range(self._batch_size):
            ctx.send(self.numbers, self._value, at=self._value)
            self._value += self._increment
        self._calls += 1


def _value(ctx: Context, port: SidePort[Any] | None, *, default: Any) -> Any:
    return ctx.side(port) if port is not None and ctx.has_side(port) else default

"""Side packets as packets of streams: SidePacketToStreamCalculator.

    node {
      calculator: "SidePacketToStreamCalculator"
      input_stream: "TICK:frame"
      input_side_packet: "threshold"
      output_stream: "AT_TICK:threshold_of_frame"
    }

As MediaPipe's. The output's tag says when packets go out, one of

* `AT_PRESTREAM`, `AT_ZERO`, `AT_POSTSTREAM`: once, at that timestamp;
* `AT_TIMESTAMP`: once, at the int in the side packet `TIMESTAMP`;
* `AT_TICK`: at each packet of the stream `TICK`, whose bounds go on as well;
* `AT_FIRST_TICK`: at the first packet of `TICK`; then the output is closed.

Each side packet goes to one output, in the order of tags and indices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Outputs,
    SideInput,
    SideInputs,
)
from ovms_mp.core.timestamp import POSTSTREAM, PRESTREAM

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo

_TICKS: Final = ("AT_TICK", "AT_FIRST_TICK")
_TIMESTAMPS: Final = {
    "AT_PRESTREAM": PRESTREAM,
    "AT_POSTSTREAM": POSTSTREAM,
    "AT_ZERO": 0,
}
_TAGS: Final = (*_TIMESTAMPS, *_TICKS, "AT_TIMESTAMP")


class SidePacketToStreamCalculator(Calculator):
    """Sends side packets when its output's tag says."""

    requires_side_inputs = True

    tick = Input(Any, "TICK", optional=True)
    at = SideInput(int, "TIMESTAMP", optional=True)
    values = SideInputs(Any)
    outputs = Outputs(Any)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One tag of outputs, what it needs, and an output for each side packet."""
        tags = {port.tag for port in node.outputs}
        if len(tags) != 1 or not tags <= set(_TAGS):
            raise ContractError(
                f"the outputs have one tag of {', '.join(_TAGS)}, "
                f"not {', '.join(sorted(tags)) or 'none'}"
            )
        (tag,) = tags
        if (tag in _TICKS) != bool(node.inputs):
            raise ContractError(
                f"an input TICK is needed with {' or '.join(_TICKS)}, and only then"
            )
        values = [port for port in node.side_inputs if port.tag != "TIMESTAMP"]
        if (tag == "AT_TIMESTAMP") != (len(values) < len(node.side_inputs)):
            raise ContractError(
                "an input side packet TIMESTAMP is needed with AT_TIMESTAMP, and only "
                "then"
            )
        if len(values) != len(node.outputs):
            raise ContractError(
                f"{len(values)} input side packets for {len(node.outputs)} outputs: "
                "there must be one for each"
            )

    def open(self, ctx: Context) -> None:
        """Pair side packets and outputs."""
        self._tag = self.outputs[0].tag
        values = sorted(self.values, key=lambda port: (port.tag, port.index))
        outputs = sorted(self.outputs, key=lambda port: port.index)
        self._pairs = list(zip(values, outputs, strict=True))
        self._is_over = False
        if self._tag in _TICKS:
            self.timestamp_offset = 0

    def process(self, ctx: Context) -> None:
        """A tick; without an input the only call."""
        if self._tag not in _TICKS:
            ctx.stop()
        elif not self._is_over:
            self._send(ctx, ctx.timestamp)
            if self._tag == "AT_FIRST_TICK":
                self._is_over = True
                for _, output in self._pairs:
                    ctx.close(output)

    def close(self, ctx: Context) -> None:
        """What does not wait for ticks goes out here."""
        if self._tag == "AT_TIMESTAMP":
            self._send(ctx, ctx.side(self.at))
        elif self._tag in _TIMESTAMPS:
            self._send(ctx, _TIMESTAMPS[self._tag])

    def _send(self, ctx: Context, at: int) -> None:
        for value, output in self._pairs:
            ctx.send(output, ctx.side(value), at=at)

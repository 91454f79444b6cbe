"""The start of a switch, packets go to one of several channels: SwitchDemuxCalculator.

    node {
      calculator: "SwitchDemuxCalculator"
      input_stream: "SELECT:channel"
      input_stream: "FRAME:frame"
      output_stream: "C0__FRAME:frame_for_fast"
      output_stream: "C1__FRAME:frame_for_good"
    }

As MediaPipe's, which makes it of a SwitchContainer; the channel is chosen as for
SwitchMuxCalculator. A packet goes to the channel that is chosen at its timestamp, and
waits until that is known; one that comes when a later choice has been made is dropped.
Side packets go to all channels.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from ovms_mp.calculator import (
    ContractError,
    Inputs,
    Outputs,
    SideInputs,
    SideOutputs,
)
from ovms_mp.core.timestamp import next_allowed
from ovms_mp_calculators.switch_channels import (
    SwitchCalculator,
    channel_of,
    check_option,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort
    from ovms_mp.core.timestamp import Timestamp

_NONE: Final[Any] = object()
"""In place of a payload: only the bound went on."""


class SwitchDemuxCalculator(SwitchCalculator):
    """Relays to the chosen channel."""

    inputs = Inputs(Any, optional=True)
    outputs = Outputs(Any, optional=True)
    sides_in = SideInputs(Any, optional=True)
    sides_out = SideOutputs(Any, optional=True)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Each output of a channel has its input, and a channel that is chosen is there."""
        check_option(node)
        for inputs, outputs in (
            (node.inputs, node.outputs),
            (node.side_inputs, node.side_outputs),
        ):
            known = {(port.tag, port.index) for port in inputs}
            for port in outputs:
                channel = channel_of(port)
                if channel is None or channel[1:] not in known:
                    raise ContractError(
                        f'"{port.label}" is no C<channel>__<tag> of an input'
                    )

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """To each channel."""
        inputs = {(port.tag, port.index): port for port in node.inputs}
        channels = ((channel_of(port), port) for port in node.outputs)
        return [(inputs[of[1:]], port) for of, port in channels if of is not None]

    def open(self, ctx: Context) -> None:
        """Side packets go to all channels."""
        super().open(ctx)
        self._outputs = {channel_of(port): port for port in self.outputs}
        self._queues: dict[int, deque[tuple[Timestamp, Any]]] = {
            port.slot: deque() for port in self.inputs
        }
        sides = {(port.tag, port.index): port for port in self.sides_in}
        for port in self.sides_out:
            channel = channel_of(port)
            assert channel is not None
            source = sides[channel[1:]]
            if ctx.has_side(source):
                ctx.set_side(port, ctx.side(source))

    def process(self, ctx: Context) -> None:
        """Packets or bounds of any inputs."""
        for port in self.inputs:
            if ctx.has(port):
                self._queues[port.slot].append((ctx.timestamp, ctx[port]))
            elif ctx.settled(port) == ctx.timestamp:
                self._queues[port.slot].append((ctx.timestamp, _NONE))
        self._record_channel(ctx)
        self._send_active(ctx)
        # As MediaPipe's, which keeps the last choice alone.
        del self._history[:-1]

    def _send_active(self, ctx: Context) -> None:
        known_until = self._selected_until(ctx)
        for port in self.inputs:
            queue = self._queues[port.slot]
            while queue and queue[0][0] <= known_until:
                at, payload = queue.popleft()
                place = (self._channel_at(at), port.tag, port.index)
                output = self._outputs.get(place)
                if output is None:
                    continue
                if payload is _NONE:
                    ctx.set_next_bound(output, next_allowed(at))
                else:
                    ctx.send(output, payload, at=at)

    def _channel_at(self, timestamp: Timestamp) -> int:
        return next(
            (channel for at, channel in reversed(self._history) if at <= timestamp), -1
        )

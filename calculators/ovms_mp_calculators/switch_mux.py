"""The end of a switch, one of several channels goes on: SwitchMuxCalculator.

    node {
      calculator: "SwitchMuxCalculator"
      input_stream: "SELECT:channel"
      input_stream: "C0__MASK:mask_of_fast"
      input_stream: "C1__MASK:mask_of_good"
      output_stream: "MASK:mask"
    }

As MediaPipe's, which makes it of a SwitchContainer. Channel n has the inputs
C<n>__<tag>, and side packets likewise. The channel is chosen by SELECT (int) or ENABLE
(bool: 1 or 0): a stream, for all timestamps from its packet on, or a side packet or
`select` or `enable` of mediapipe.SwitchContainerOptions, for a start. Packets of the
channel that is chosen at their timestamp go on, others are dropped; a packet waits as
long as the choice is not known, or an earlier channel has not got so far.
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
from ovms_mp.core.timestamp import DONE, next_allowed
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


class SwitchMuxCalculator(SwitchCalculator):
    """Relays the chosen channel."""

    inputs = Inputs(Any, optional=True)
    outputs = Outputs(Any, optional=True)
    sides_in = SideInputs(Any, optional=True)
    sides_out = SideOutputs(Any, optional=True)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """Each input of a channel has its output, and a channel that is chosen is there."""
        check_option(node)
        for inputs, outputs in (
            (node.inputs, node.outputs),
            (node.side_inputs, node.side_outputs),
        ):
            known = {(port.tag, port.index) for port in outputs}
            for port in inputs:
                channel = channel_of(port)
                if port.tag in {"SELECT", "ENABLE"}:
                    continue
                if channel is None or channel[1:] not in known:
                    raise ContractError(
                        f'"{port.label}" is no C<channel>__<tag> of an output'
                    )

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """From each channel."""
        outputs = {(port.tag, port.index): port for port in node.outputs}
        channels = ((channel_of(port), port) for port in node.inputs)
        return [(port, outputs[of[1:]]) for of, port in channels if of is not None]

    def open(self, ctx: Context) -> None:
        """Side packets are those of the first channel."""
        super().open(ctx)
        outputs = {(port.tag, port.index): port for port in self.outputs}
        self._channels: dict[int, list[tuple[InputPort[Any], OutputPort[Any]]]] = {}
        for port in sorted(self.inputs, key=lambda each: (each.tag, each.index)):
            channel = channel_of(port)
            assert channel is not None
            pair = (port, outputs[channel[1:]])
            self._channels.setdefault(channel[0], []).append(pair)
        self._queues: dict[int, deque[tuple[Timestamp, Any]]] = {
            port.slot: deque() for port in self.inputs
        }
        sides = {channel_of(port): port for port in self.sides_in}
        for port in self.sides_out:
            source = sides.get((self._channel, port.tag, port.index))
            if source is not None and ctx.has_side(source):
                ctx.set_side(port, ctx.side(source))

    def process(self, ctx: Context) -> None:
        """Packets or bounds of any inputs."""
        self._record_channel(ctx)
        for port in self.inputs:
            if ctx.has(port):
                self._queues[port.slot].append((ctx.timestamp, ctx[port]))
            elif ctx.settled(port) == ctx.timestamp:
                self._queues[port.slot].append((ctx.timestamp, _NONE))
        self._send_active(ctx)

    def _send_active(self, ctx: Context) -> None:
        expired = 0
        last = len(self._history) - 1
        for number, (start, channel) in enumerate(self._history):
            if number == last:
                end = next_allowed(self._selected_until(ctx))
            else:
                end = self._history[number + 1][0]
            settled = DONE
            for port, output in self._channels.get(channel, ()):
                self._send_queue(ctx, output, port.slot, start, end)
                settled = min(settled, ctx.settled(port))
            if number == last or next_allowed(settled) < end:
                break
            expired = number + 1
            for queue in self._queues.values():
                while queue and queue[0][0] < end:
                    queue.popleft()
        del self._history[:expired]

    def _send_queue(
        self,
        ctx: Context,
        output: OutputPort[Any],
        slot: int,
        start: Timestamp,
        end: Timestamp,
    ) -> None:
        queue = self._queues[slot]
        while queue and queue[0][0] < end:
            at, payload = queue.popleft()
            if at < start:
                continue
            if payload is _NONE:
                ctx.set_next_bound(output, next_allowed(at))
            else:
                ctx.send(output, payload, at=at)

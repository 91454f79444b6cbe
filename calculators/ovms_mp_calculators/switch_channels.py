"""Channels of a switch: tags C0__TAG, C1__TAG… and who is chosen since when.

Shared by SwitchMuxCalculator and SwitchDemuxCalculator.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import Calculator, Input, Options, SideInput
from ovms_mp.core.timestamp import DONE, UNSTARTED

if TYPE_CHECKING:
    from ovms_mp.calculator import Context
    from ovms_mp.calculator.ports import BoundPort, SidePort
    from ovms_mp.core.timestamp import Timestamp

OPTIONS: Final = graph.SwitchContainerOptions
_CHANNEL: Final = re.compile(r"C([0-9]+)__(.+)")


def channel_of(port: BoundPort[Any]) -> tuple[int, str, int] | None:
    """(channel, tag, index) of a port C<channel>__<tag>:<index>, else None."""
    found = _CHANNEL.fullmatch(port.tag)
    return None if found is None else (int(found[1]), found[2], port.index)


class SwitchCalculator(Calculator):
    """What both ends of a switch have in common."""

    input_policy = "ImmediateInputStreamHandler"
    process_timestamp_bounds = True

    select = Input(int, "SELECT", optional=True)
    enable = Input(bool, "ENABLE", optional=True)
    side_select = SideInput(int, "SELECT", optional=True)
    side_enable = SideInput(bool, "ENABLE", optional=True)
    options = Options(OPTIONS)

    def open(self, ctx: Context) -> None:
        """The channel to begin with: 0 where nothing says which."""
        streams = {port.tag: port for port in self.node.inputs}
        sides = {port.tag: port for port in self.node.side_inputs}
        self._select = streams.get("SELECT")
        self._enable = streams.get("ENABLE")
        self._channel = self._initial(ctx, sides.get("SELECT"), sides.get("ENABLE"))
        self._history: list[tuple[Timestamp, int]] = [(UNSTARTED, self._channel)]
        """Which channel is chosen from which timestamp on."""

    def _initial(
        self, ctx: Context, select: SidePort[Any] | None, enable: SidePort[Any] | None
    ) -> int:
        if select is not None and ctx.has_side(select):
            return ctx.side(select)
        if enable is not None and ctx.has_side(enable):
            return int(ctx.side(enable))
        if self.options.HasField("select"):
            return self.options.select
        return int(self.options.enable)

    def _record_channel(self, ctx: Context) -> None:
        """Note a channel that is chosen from this timestamp on."""
        channel = self._channel
        if self._enable is not None and ctx.has(self._enable):
            channel = int(ctx[self._enable])
        if self._select is not None and ctx.has(self._select):
            channel = ctx[self._select]
        if channel != self._channel and self._selected_until(ctx) == ctx.timestamp:
            self._channel = channel
            self._history.append((ctx.timestamp, channel))

    def _selected_until(self, ctx: Context) -> Timestamp:
        """Up to which timestamp it is known which channel is chosen."""
        port = self._enable or self._select
        return DONE if port is None else ctx.settled(port)

"""Channels of a switch: tags C0__TAG, C1__TAG… and who is chosen since when.

Shared by SwitchMuxCalculator and SwitchDemuxCalculator. Packets of a channel that there
is not vanish, as in MediaPipe; the log says so, once in a run. An option or a side packet
that chooses one is an error: natively nothing comes out at all, or the process ends.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Input,
    Options,
    SideInput,
)
from ovms_mp.core.timestamp import DONE, UNSTARTED

if TYPE_CHECKING:
    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.calculator.ports import BoundPort, SidePort
    from ovms_mp.core.timestamp import Timestamp

log = logging.getLogger(__name__)

OPTIONS: Final = graph.SwitchContainerOptions
_CHANNEL: Final = re.compile(r"C([0-9]+)__(.*)")


def channel_of(port: BoundPort[Any]) -> tuple[int, str, int] | None:
    """(channel, tag, index) of a port C<channel>__<tag>:<index>, else None."""
    found = _CHANNEL.fullmatch(port.tag)
    return None if found is None else (int(found[1]), found[2], port.index)


def check_option(node: NodeInfo) -> None:
    """Raises ContractError if the options choose a channel that there is not."""
    options = node.options.get(OPTIONS.DESCRIPTOR.full_name, OPTIONS())
    try:
        _existing(_option(options), _count(node))
    except ValueError as error:
        raise ContractError(str(error)) from error


def _option(options: graph.SwitchContainerOptions) -> int:
    return options.select if options.HasField("select") else int(options.enable)


def _count(node: NodeInfo) -> int:
    """Channels from 0 to the last that a port is of; 0 if no port is of any."""
    ports = (*node.inputs, *node.outputs, *node.side_inputs, *node.side_outputs)
    channels = (found[0] for found in map(channel_of, ports) if found is not None)
    return 1 + max(channels, default=-1)


def _exists(channel: int, count: int) -> bool:
    return 0 <= channel < count or not count


def _missing(channel: int, count: int) -> str:
    return f"channel {channel} is chosen; expected 0 to {count - 1}"


def _existing(channel: int, count: int) -> int:
    if not _exists(channel, count):
        raise ValueError(_missing(channel, count))
    return channel


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
        self._count = _count(self.node)
        self._is_told = False
        first = self._initial(ctx, sides.get("SELECT"), sides.get("ENABLE"))
        self._channel = _existing(first, self._count)
        self._history: list[tuple[Timestamp, int]] = [(UNSTARTED, self._channel)]
        """Which channel is chosen from which timestamp on."""

    def _initial(
        self, ctx: Context, select: SidePort[Any] | None, enable: SidePort[Any] | None
    ) -> int:
        if select is not None and ctx.has_side(select):
            return ctx.side(select)
        if enable is not None and ctx.has_side(enable):
            return int(ctx.side(enable))
        return _option(self.options)

    def _record_channel(self, ctx: Context) -> None:
        """Note a channel that is chosen from this timestamp on."""
        channel = self._channel
        if self._enable is not None and ctx.has(self._enable):
            channel = int(ctx[self._enable])
        if self._select is not None and ctx.has(self._select):
            channel = ctx[self._select]
        if not (self._is_told or _exists(channel, self._count)):
            self._is_told = True
            log.warning(
                'node "%s": %s; packets of another one vanish',
                self.node.name,
                _missing(channel, self._count),
            )
        if channel != self._channel and self._selected_until(ctx) == ctx.timestamp:
            self._channel = channel
            self._history.append((ctx.timestamp, channel))

    def _selected_until(self, ctx: Context) -> Timestamp:
        """Up to which timestamp it is known which channel is chosen."""
        port = self._enable or self._select
        return DONE if port is None else ctx.settled(port)

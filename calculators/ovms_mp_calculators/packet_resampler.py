"""A steady rate of packets: PacketResamplerCalculator.

    node {
      calculator: "PacketResamplerCalculator"
      input_stream: "DATA:frames"
      output_stream: "DATA:ten_a_second"
      node_options: {
        [type.googleapis.com/mediapipe.PacketResamplerCalculatorOptions] {
          frame_rate: 10
        }
      }
    }

As MediaPipe's: for each period of `frame_rate`, counted from the first packet or from
`base_timestamp`, the packet nearest to it leaves, repeated or dropped as it must be, from
`start_time` until `end_time` (microseconds; `round_limits` widens them by half a period);
`flush_last_packet` lets the last period end with the last packet. `max_frame_rate` is an
upper limit of the rate. `jitter`, with `jitter_with_reflection` and
`reproducible_sampling`, is refused: MediaPipe's open source has no random numbers for it.
`output_header` and `use_input_frame_rate` speak of headers, which nothing here has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph

from ovms_mp.calculator import (
    EMPTY,
    Calculator,
    ContractError,
    Inputs,
    Options,
    Outputs,
)
from ovms_mp.core.timestamp import MAX, MIN, PRESTREAM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovms_mp.calculator import Context, InputPort, NodeInfo, OutputPort
    from ovms_mp.core.timestamp import Timestamp

_OPTIONS: Final = graph.PacketResamplerCalculatorOptions
_SECOND: Final = 1_000_000
_HEADERS: Final = ("output_header", "use_input_frame_rate")


class PacketResamplerCalculator(Calculator):
    """Repeats and drops."""

    data = Inputs(Any)
    resampled = Outputs(Any)
    options = Options(_OPTIONS)

    @classmethod
    def check(cls, node: NodeInfo) -> None:
        """One stream, and a rate that is one."""
        for side, ports in (("input", node.inputs), ("output", node.outputs)):
            if len(ports) != 1 or ports[0].tag not in {"", "DATA"}:
                labels = ", ".join(port.label for port in ports)
                raise ContractError(
                    f"expected one {side} stream, DATA or without a tag, found {labels}"
                )
        options = node.options.get(_OPTIONS.DESCRIPTOR.full_name, _OPTIONS())
        for name in ("jitter", "reproducible_sampling"):
            if getattr(options, name):
                raise ContractError(f"{name} is not supported, nor is it in MediaPipe")
        for name in _HEADERS:
            if getattr(options, name):
                raise ContractError(f"{name} is not supported: there are no headers")
        rate = _rate(options)
        if not 0 < rate <= _SECOND:
            raise ContractError(
                f"frame_rate must be above 0 and at most {_SECOND}, found {rate}"
            )

    @classmethod
    def passed_on(
        cls, node: NodeInfo
    ) -> Iterable[tuple[InputPort[Any], OutputPort[Any]]]:
        """The one stream."""
        return [(node.inputs[0], node.outputs[0])]

    def open(self, ctx: Context) -> None:
        """Settle rate and limits."""
        options = self.options
        self._rate = _rate(options)
        margin = int(_SECOND / self._rate) // 2 if options.round_limits else 0
        start = options.start_time if options.HasField("start_time") else MIN
        end = options.end_time if options.HasField("end_time") else MAX
        self._start, self._end = start - margin, end + margin
        self._first: Timestamp | None = None
        self._period = 0
        self._last: Any = EMPTY
        self._last_at: Timestamp = MIN

    def process(self, ctx: Context) -> None:
        """Fill the periods up to this packet."""
        now, payload = ctx.timestamp, ctx[self.data[0]]
        if now <= PRESTREAM:
            raise ValueError("a packet at Timestamp::PreStream() has no time")
        if self._first is None:
            self._first = self._beginning(now)
        here = self._index(now)
        if here >= self._period:
            while here > self._period:
                self._send(ctx, self._last)
            at = self._at(self._period)
            if now >= at:
                is_nearer = self._last is EMPTY or now - at <= at - self._last_at
                self._send(ctx, payload if is_nearer else self._last)
            ctx.set_next_bound(self.resampled[0], self._at(self._period))
        self._last, self._last_at = payload, now

    def close(self, ctx: Context) -> None:
        """The last packet may belong to a period that has not been sent."""
        is_due = self._first is not None and self._index(self._last_at) == self._period
        if ctx.error is None and self.options.flush_last_packet and is_due:
            self._send(ctx, self._last)

    def _send(self, ctx: Context, payload: Any) -> None:
        at = self._at(self._period)
        self._period += 1
        if self._start <= at < self._end and payload is not EMPTY:
            ctx.send(self.resampled[0], payload, at=at)

    def _beginning(self, now: Timestamp) -> Timestamp:
        if not self.options.HasField("base_timestamp"):
            return now
        base = self.options.base_timestamp
        index = _rounded((now - base) / _SECOND * self._rate)
        return base + _rounded(index / self._rate * _SECOND)

    def _at(self, index: int) -> Timestamp:
        assert self._first is not None
        return self._first + _rounded(index / self._rate * _SECOND)

    def _index(self, at: Timestamp) -> int:
        assert self._first is not None
        return _rounded((at - self._first) / _SECOND * self._rate)


def _rate(options: Any) -> float:
    limit = options.max_frame_rate
    return min(options.frame_rate, limit) if limit > 0 else options.frame_rate


def _rounded(value: float) -> int:
    """Halves away from zero, as C++ does."""
    whole = int(abs(value) + 0.5)
    return whole if value >= 0 else -whole

"""Native nodes run as one node of ours: NativeIslandCalculator.

    node {
      calculator: "NativeIslandCalculator"
      input_stream: "image"            # streams bear the names of the native graph
      output_stream: "tensors"
      node_options: {
        [type.googleapis.com/google.protobuf.StringValue]: { value: "…" }
      }
    }

The value is the text of a native CalculatorGraphConfig with the same streams and side
packets. Nobody writes such a node: it takes the place of nodes that only the wheel has.

Every input is a timeline of its own here, for the native graph does the synchronising:
what comes is handed on at once, and what has come out by the time native code is idle
is sent on, packets and bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from google.protobuf.wrappers_pb2 import StringValue

from ovms_mp.calculator import (
    Calculator,
    ContractError,
    Inputs,
    Options,
    Outputs,
    SideInputs,
)
from ovms_mp.core.timestamp import (
    MAX,
    MIN,
    POSTSTREAM,
    PRESTREAM,
    is_range_value,
    next_allowed,
)
from ovms_mp.isolation.frames import Frame, FrameError
from ovms_mp.native import crossing, inventory
from ovms_mp.native.crossing import BadCrossing
from ovms_mp.native.types import Item
from ovms_mp.native.workers import CALL_SECONDS, POOL, NativeFailure, Worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovms_mp.calculator import Context, NodeInfo
    from ovms_mp.core.pending import Pending

_SPECIAL: Final = {PRESTREAM: "PRESTREAM", POSTSTREAM: "POSTSTREAM"}


@dataclass(frozen=True, slots=True)
class _Border:
    """C++ types by stream and by side packet, empty where anything goes."""

    streams: Mapping[str, str]
    sides: Mapping[str, str]


class NativeIslandCalculator(Calculator):
    """Fails when native code does, ends, or takes more than a minute for one input, and
    when a payload is not what the native graph takes.
    """

    inputs = Inputs(Any, optional=True)
    outputs = Outputs(Any, optional=True)
    sides = SideInputs(Any, optional=True)
    options = Options(StringValue)
    input_policy = "ImmediateInputStreamHandler"
    process_timestamp_bounds = True

    @classmethod
    def load(cls, node: NodeInfo) -> _Border:
        """Have the native runtime judge the graph. Raises ContractError."""
        if problem := inventory.problem():
            raise ContractError(problem)
        POOL.hold()
        try:
            return cls._border(node)
        except BaseException:
            POOL.release()
            raise

    @classmethod
    def _border(cls, node: NodeInfo) -> _Border:
        streams = [each.name for each in (*node.inputs, *node.outputs)]
        sides = [each.name for each in node.side_inputs]
        header = {
            "call": "describe",
            "text": _text_of(node),
            "streams": streams,
            "sides": sides,
        }
        worker = POOL.take()
        try:
            found = worker.call(header).result(CALL_SECONDS).header
            border = _Border(dict(found["streams"]), dict(found["sides"]))
        except NativeFailure as error:
            raise ContractError(str(error)) from error
        finally:
            worker.kill()
        for each in node.inputs:
            _refuse(each.name, crossing.problem_in(border.streams.get(each.name, "")))
        for each in node.outputs:
            _refuse(each.name, crossing.problem_out(border.streams.get(each.name, "")))
        for each in node.side_inputs:
            _refuse(each.name, crossing.problem_in(border.sides.get(each.name, "")))
        return border

    @classmethod
    def unload(cls, shared: Any) -> None:
        """Give up the claim to a spare worker."""
        POOL.release()

    def open(self, ctx: Context) -> None:
        """Start a worker of this run's own; nobody waits for it here."""
        self._worker: Worker | None = None
        self._settled: dict[str, int] = {}
        self._ended: set[str] = set()
        border: _Border = self.shared
        sides: list[Any] = []
        buffers: list[Any] = []
        for port in self.sides:
            if ctx.has_side(port):
                cpp_type = border.sides.get(port.name, "")
                item = self._encoded(port.name, ctx.side(port), cpp_type)
                sides.append((port.name, *_described(item)))
                buffers += item[1].buffers
        self._worker = POOL.take()
        header = {
            "call": "start",
            "text": _text_of(self.node),
            "outputs": [each.name for each in self.outputs],
            "sides": sides,
        }
        self._worker.call(header, buffers)

    def process(self, ctx: Context) -> None:
        """Hand on what is new of each input; send on what comes of it."""
        packets: list[Any] = []
        bounds: list[Any] = []
        ended: list[str] = []
        buffers: list[Any] = []
        for port in self.inputs:
            name = port.name
            if ctx.has(port):
                at = ctx.timestamp
                cpp_type = self.shared.streams.get(name, "")
                item = self._encoded(name, ctx[port], cpp_type)
                packets.append((name, _SPECIAL.get(at, at), *_described(item)))
                buffers += item[1].buffers
                self._settled[name] = at
            elif name in self._ended:
                continue
            elif ctx.is_done(port):
                ended.append(name)
                self._ended.add(name)
            else:
                at = ctx.settled(port)
                if max(MIN, self._settled.get(name, PRESTREAM) + 1) <= at < MAX:
                    bounds.append((name, at))
                    self._settled[name] = at
        if not self.inputs:
            ctx.stop()
        elif not (packets or bounds or ended):
            return
        pending = self._feed(packets, bounds, ended, buffers)
        ctx.wait(pending, lambda frame: self._send(ctx, frame))

    def close(self, ctx: Context) -> None:
        """Let native code end as it would, unless the run failed; then end it."""
        if self._worker is None:
            return
        try:
            left = [each.name for each in self.inputs if each.name not in self._ended]
            if ctx.error is None and left and self._worker.is_alive:
                frame = self._feed([], [], left, []).result(CALL_SECONDS)
                self._send(ctx, frame)
        finally:
            self._worker.kill()

    def _feed(
        self,
        packets: list[Any],
        bounds: list[Any],
        ended: list[str],
        buffers: list[Any],
    ) -> Pending[Frame]:
        assert self._worker is not None
        header = {"call": "feed", "packets": packets, "bounds": bounds, "ended": ended}
        return self._worker.call(header, buffers)

    def _encoded(self, name: str, payload: Any, cpp_type: str) -> tuple[str, Item]:
        try:
            return crossing.encode(payload, cpp_type)
        except BadCrossing as error:
            raise BadCrossing(f'"{name}": {error}') from error

    def _send(self, ctx: Context, frame: Frame) -> None:
        try:
            self._send_each(ctx, frame)
        except (FrameError, TypeError, ValueError, LookupError) as error:
            raise NativeFailure("the native worker sent nonsense") from error

    def _send_each(self, ctx: Context, frame: Frame) -> None:
        buffers = iter(frame.buffers)
        bounds: dict[int, int] = {}
        outputs = self.outputs
        emissions = cast("list[Any]", frame.header["emissions"])
        for emission in emissions:
            slot: int = emission[0]
            at: int = emission[1]
            rest = cast("list[Any]", emission[2:])
            if rest:
                kind, meta, count = rest
                item = Item(kind, meta, [next(buffers) for _ in range(count)])
                ctx.send(outputs[slot], crossing.decode(item), at)
                bounds.pop(slot, None)
            elif is_range_value(at):
                bounds[slot] = next_allowed(at)
        for slot, bound in bounds.items():
            if bound > ctx.next_bound(outputs[slot]):
                ctx.set_next_bound(outputs[slot], bound)


def _described(item: tuple[str, Item]) -> tuple[str, str, Any, int]:
    cpp_type, (kind, meta, buffers) = item
    return cpp_type, kind, meta, len(buffers)


def _text_of(node: NodeInfo) -> str:
    return node.options[StringValue.DESCRIPTOR.full_name].value


def _refuse(name: str, problem: str) -> None:
    if problem:
        raise ContractError(f'"{name}": {problem}')

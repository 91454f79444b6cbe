"""The calibration of the scheduler's cost: a plain scheduler with MediaPipe's policies of
sync sets, as it was sketched before the real one was written. It locks, notifies and
asks as that sketch did, for whoever wants to compare.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

_UNSET: Final = -(2**63)
_PRESTREAM: Final = _UNSET + 2
_MIN: Final = _UNSET + 3
_MAX: Final = 2**63 - 4
_OVER: Final = _MAX + 2
_DONE: Final = _MAX + 3


def _next(timestamp: int) -> int:
    if timestamp == _PRESTREAM or timestamp >= _MAX:
        return _OVER
    return timestamp + 1


class _Queue:
    __slots__ = ("bound", "closed", "node", "packets")

    def __init__(self, node: PassThrough) -> None:
        self.packets: deque[tuple[int, Any]] = deque()
        self.bound = _PRESTREAM
        self.node = node
        self.closed = False

    def add(self, timestamp: int, payload: Any) -> None:
        if self.closed:
            return
        if timestamp < self.bound:
            msg = f"{timestamp} < {self.bound}"
            raise ValueError(msg)
        self.packets.append((timestamp, payload))
        self.bound = max(self.bound, _next(timestamp))

    def raise_to(self, bound: int) -> bool:
        if bound <= self.bound or self.closed:
            return False
        self.bound = bound
        return True

    def pop(self, timestamp: int) -> Any:
        payload = None
        while self.packets and self.packets[0][0] <= timestamp:
            at, found = self.packets.popleft()
            if at == timestamp:
                payload = found
        return payload


class _Call:
    __slots__ = ("emitted", "inputs", "timestamp")

    def __init__(self, timestamp: int, inputs: list[Any]) -> None:
        self.timestamp = timestamp
        self.inputs = inputs
        self.emitted: list[tuple[int, int, Any]] = []

    def send(self, port: int, payload: Any) -> None:
        self.emitted.append((port, self.timestamp, payload))


class _SyncSet:
    def __init__(self, queues: list[_Queue]) -> None:
        self.queues = queues
        self.last = _UNSET

    def ready(self) -> tuple[str, int]:
        bound = packet = _DONE
        for queue in self.queues:
            if queue.packets:
                packet = min(packet, queue.packets[0][0])
            else:
                bound = min(bound, queue.bound)
        if min(bound, packet) >= _OVER:
            return "close", _DONE
        if bound > packet:
            return "process", packet
        bound = min(bound, packet)
        self.last = max(self.last, bound)
        return "bound", bound


class PassThrough:
    """A node that passes what comes, with offset 0."""

    processes_bounds = False
    offset: int | None = 0

    def __init__(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self.names = inputs
        self.queues = [_Queue(self) for _ in inputs]
        self.outputs = outputs
        self.sets = [(list(range(len(inputs))), _SyncSet(self.queues))]
        self.is_running = self.is_pending = False
        self.is_open = True

    def process(self, call: _Call) -> None:
        for port, payload in enumerate(call.inputs):
            if payload is not None:
                call.send(port, payload)


class Graph:
    """Nodes, and whoever listens to their streams."""

    def __init__(self, nodes: Sequence[PassThrough]) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._error: Exception | None = None
        self._limit = -1
        self._ready: deque[PassThrough] = deque()
        self._consumers: dict[str, list[_Queue]] = defaultdict(list)
        self._listeners: dict[str, list[Callable[[int, Any], object]]] = defaultdict(
            list
        )
        self._bounds: dict[str, int] = defaultdict(lambda: _PRESTREAM)
        for node in nodes:
            for name, queue in zip(node.names, node.queues, strict=True):
                self._consumers[name].append(queue)

    def observe(self, stream: str, listener: Callable[[int, Any], object]) -> None:
        self._listeners[stream].append(listener)

    def add(self, stream: str, timestamp: int, payload: Any) -> None:
        with self._lock:
            if self._error:
                raise self._error
            if not _PRESTREAM <= timestamp < _OVER:
                msg = f"{timestamp} is not allowed"
                raise ValueError(msg)
            if self._limit > 0:
                raise NotImplementedError
            self._emit(stream, timestamp, payload)
        while self._ready:
            self._step(self._ready.popleft())

    def _emit(self, stream: str, timestamp: int, payload: Any) -> None:
        if timestamp < self._bounds[stream]:
            msg = f"{timestamp} < {self._bounds[stream]}"
            raise ValueError(msg)
        self._bounds[stream] = _next(timestamp)
        for queue in self._consumers[stream]:
            queue.add(timestamp, payload)
            self._check(queue.node)
        for listener in self._listeners[stream]:
            listener(timestamp, payload)

    def _raise_to(self, stream: str, bound: int) -> None:
        if bound <= self._bounds[stream]:
            return
        self._bounds[stream] = bound
        for queue in self._consumers[stream]:
            if queue.raise_to(bound):
                self._check(queue.node)

    def _check(self, node: PassThrough) -> None:
        if node.is_running or not node.is_open or node.is_pending:
            return
        is_over = True
        for _, each in node.sets:
            readiness, timestamp = each.ready()
            if readiness == "process" or (
                readiness == "bound" and node.processes_bounds
            ):
                self._schedule(node)
                return
            if readiness == "bound":
                is_over = False
                if node.offset is not None and len(node.sets) == 1:
                    for stream in node.outputs:
                        is_range = _MIN <= timestamp <= _MAX
                        self._raise_to(
                            stream, timestamp + node.offset if is_range else timestamp
                        )
        if is_over or all(
            (queue.packets[0][0] if queue.packets else queue.bound) == _DONE
            for queue in node.queues
        ):
            self._schedule(node)

    def _schedule(self, node: PassThrough) -> None:
        node.is_pending = True
        self._ready.append(node)
        self._changed.notify_all()

    def _step(self, node: PassThrough) -> None:
        call = None
        with self._lock:
            node.is_pending = False
            if self._error or not node.is_open:
                return
            node.is_running = True
            for slots, each in node.sets:
                readiness, timestamp = each.ready()
                if readiness == "process":
                    inputs: list[Any] = [None] * len(node.queues)
                    for slot in slots:
                        inputs[slot] = node.queues[slot].pop(timestamp)
                    call = _Call(timestamp, inputs)
                    self._changed.notify_all()
                    break
        if call is None:
            node.is_running = False
            return
        self._call(node, call)
        with self._lock:
            node.is_running = False
            if node.offset is not None and len(node.sets) == 1:
                for stream in node.outputs:
                    self._raise_to(stream, _next(call.timestamp) + node.offset)
            self._check(node)

    def _call(self, node: PassThrough, call: _Call) -> None:
        node.process(call)
        with self._lock:
            for port, timestamp, payload in call.emitted:
                self._emit(node.outputs[port], timestamp, payload)

"""Policies for inputs that do not share one timeline: each is a handler of MediaPipe's
framework/stream_handler/, whose name it bears.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovms_mp.calculator.context import EMPTY
from ovms_mp.core.timestamp import DONE, MAX, UNSET, is_range_value, next_allowed
from ovms_mp.graph.fixed_size import queue_discard
from ovms_mp.graph.policy import (
    READY_FOR_CLOSE,
    READY_FOR_PROCESS,
    SyncSet,
    pop_at,
)
from ovms_mp.graph.stream import StreamError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.graph.stream import InputStream


class ImmediatePolicy:
    """Every input is a timeline of its own, and a packet is processed as soon as it
    comes; packets of equal timestamps that wait together are processed together.

    An input that ends while others go on causes one call without packets, at the
    smallest bound: MediaPipe keeps that for old calculators, and so do we.
    """

    is_eager = True

    __slots__ = ("_ready", "_sets", "bound", "is_over", "timestamp")

    def __init__(
        self, inputs: Sequence[InputStream], *, processes_bounds: bool = False
    ) -> None:
        self._sets = [
            SyncSet([queue], processes_bounds=processes_bounds) for queue in inputs
        ]
        self._ready: list[Timestamp] = [UNSET] * len(inputs)
        self.timestamp: Timestamp = UNSET
        self.bound: Timestamp = UNSET
        self.is_over = False

    def take(self) -> list[Any] | None:
        """See InputPolicy."""
        earliest: Timestamp = DONE
        bound: Timestamp = DONE
        has_newly_ended = False
        for number, each in enumerate(self._sets):
            ready = self._ready[number]
            if ready == UNSET:
                last = each.last_processed
                readiness = each.readiness()
                ready = each.timestamp
                if readiness == READY_FOR_PROCESS:
                    self._ready[number] = ready
                elif readiness != READY_FOR_CLOSE:
                    bound = min(bound, ready)
                    continue
                elif not each.processes_bounds:
                    self._ready[number] = DONE
                    has_newly_ended = True
                    continue
                else:
                    # That an input has ended is processed, too: once, at MAX.
                    self._ready[number] = ready = MAX if last < MAX else DONE
            bound = min(bound, ready)
            earliest = min(earliest, ready)
        self.bound = bound
        self.is_over = bound == DONE
        if self.is_over:
            return None
        if earliest == DONE and not has_newly_ended:
            return None
        self.timestamp = timestamp = bound if earliest == DONE else earliest
        return [self._take(number, timestamp) for number in range(len(self._sets))]

    def _take(self, number: int, timestamp: Timestamp) -> Any:
        if self._ready[number] != timestamp:
            return EMPTY
        self._ready[number] = UNSET
        return pop_at(self._sets[number].inputs[0], timestamp)


class SyncSetPolicy:
    """The inputs of each group share a timeline; those in no group form one more. One
    group is processed per call, the earliest of those that are ready.
    """

    is_eager = True

    __slots__ = ("_groups", "_size", "bound", "is_over", "timestamp")

    def __init__(
        self,
        inputs: Sequence[InputStream],
        *,
        groups: Sequence[Sequence[int]],
        processes_bounds: bool = False,
    ) -> None:
        self._size = len(inputs)
        self._groups = [
            (
                slots,
                SyncSet(
                    [inputs[slot] for slot in slots], processes_bounds=processes_bounds
                ),
            )
            for slots in groups
        ]
        self.timestamp: Timestamp = UNSET
        self.bound: Timestamp = UNSET
        self.is_over = False

    def take(self) -> list[Any] | None:
        """See InputPolicy."""
        earliest: tuple[Sequence[int], SyncSet] | None = None
        timestamp: Timestamp = DONE
        for group in list(self._groups):
            each = group[1]
            last = each.last_processed
            readiness = each.readiness()
            self.bound = each.timestamp
            if readiness == READY_FOR_CLOSE:
                self._groups.remove(group)
            elif readiness == READY_FOR_PROCESS:
                if each.timestamp < timestamp:
                    earliest, timestamp = group, each.timestamp
                # Only what is taken has been processed.
                each.last_processed = last
        if earliest is None:
            self.is_over = not self._groups
            return None
        self.timestamp = earliest[1].last_processed = timestamp
        payloads: list[Any] = [EMPTY] * self._size
        for slot, queue in zip(earliest[0], earliest[1].inputs, strict=True):
            payloads[slot] = pop_at(queue, timestamp)
        return payloads


class MuxPolicy:
    """The last input, the control, says by its int packets which of the others is taken
    at its timestamp; what the others have at that time is dropped.
    """

    is_eager = True

    __slots__ = ("_control", "_data", "_order", "bound", "is_over", "timestamp")

    def __init__(
        self, inputs: Sequence[InputStream], *, order: Sequence[int] | None = None
    ) -> None:
        """`order` has the positions of the inputs by tag and index."""
        self._order = range(len(inputs)) if order is None else order
        *self._data, self._control = [inputs[slot] for slot in self._order]
        self.timestamp: Timestamp = UNSET
        self.bound: Timestamp = UNSET
        self.is_over = False

    def take(self) -> list[Any] | None:
        """See InputPolicy. Raises StreamError for a control packet that selects no
        input.
        """
        control = self._control
        self.bound = timestamp = control.head_or_bound()
        for queue in self._data:
            queue_discard(queue, timestamp)
        if not control.packets:
            self.is_over = timestamp == DONE
            return None
        selected = control.packets[0][1]
        is_number = isinstance(selected, int) and not isinstance(selected, bool)
        if not (is_number and 0 <= selected < len(self._data)):
            msg = (
                f'control stream "{control.name}" selects {selected!r}, expected an '
                f"int from 0 to {len(self._data) - 1}"
            )
            raise StreamError(msg)
        queue = self._data[selected]
        if not queue.packets and queue.bound <= timestamp:
            return None
        payloads: list[Any] = [EMPTY] * len(self._order)
        payloads[self._order[selected]] = pop_at(queue, timestamp)
        payloads[self._order[-1]] = control.packets.popleft()[1]
        for queue in self._data:
            queue_discard(queue, next_allowed(timestamp))
        self.timestamp = timestamp
        return payloads


class BarrierPolicy:
    """One packet of every input, whatever their timestamps; over when one input is."""

    is_eager = True

    __slots__ = ("_inputs", "bound", "is_over", "timestamp")

    def __init__(self, inputs: Sequence[InputStream]) -> None:
        self._inputs = inputs
        self.timestamp: Timestamp = UNSET
        self.bound: Timestamp = UNSET
        self.is_over = False
        for queue in inputs:
            queue.is_timed = False

    def take(self) -> list[Any] | None:
        """See InputPolicy."""
        self.bound = min(queue.head_or_bound() for queue in self._inputs)
        if all(queue.packets for queue in self._inputs):
            self.timestamp = self.bound
            return [queue.packets.popleft()[1] for queue in self._inputs]
        self.is_over = any(queue.is_done() for queue in self._inputs)
        return None


class EarlyClosePolicy:
    """As the default policy, but over as soon as one input is."""

    is_eager = True

    __slots__ = ("_inputs", "bound", "is_over", "timestamp")

    def __init__(self, inputs: Sequence[InputStream]) -> None:
        self._inputs = inputs
        self.timestamp: Timestamp = UNSET
        self.bound: Timestamp = UNSET
        self.is_over = False

    def take(self) -> list[Any] | None:
        """See InputPolicy."""
        if any(queue.is_done() for queue in self._inputs):
            self.is_over = True
            return None
        earliest = min(queue.head_or_bound() for queue in self._inputs)
        self.bound = earliest
        for queue in self._inputs:
            if not queue.packets and queue.bound <= earliest:
                return None
        self.timestamp = earliest
        return [pop_at(queue, earliest) for queue in self._inputs]


class TimestampAlignPolicy:
    """Inputs with clocks of their own are shifted onto the timeline of the base input,
    by the difference of their first packets. Until each has one, packets of the base
    are processed alone.
    """

    is_eager = True

    __slots__ = (
        "_base",
        "_inputs",
        "_is_aligned",
        "_offsets",
        "bound",
        "is_over",
        "timestamp",
    )

    def __init__(self, inputs: Sequence[InputStream], *, base: int) -> None:
        self._inputs = inputs
        self._base = base
        self._offsets = [0] * len(inputs)
        self._is_aligned = len(inputs) == 1
        self.timestamp: Timestamp = UNSET
        self.bound: Timestamp = UNSET
        self.is_over = False

    def take(self) -> list[Any] | None:
        """See InputPolicy."""
        if not self._is_aligned:
            base = self._inputs[self._base]
            self.bound = base.head_or_bound()
            if not base.packets:
                return None
            self._align(self.bound)
            self.timestamp = self.bound
            if not self._is_aligned:
                payloads: list[Any] = [EMPTY] * len(self._inputs)
                payloads[self._base] = base.packets.popleft()[1]
                return payloads
            # MediaPipe processes the base's packet at once, settled or not.
            return self._take(self.bound)
        self.bound = min(self._shifted(slot) for slot in range(len(self._inputs)))
        if self.bound == DONE:
            self.is_over = True
            return None
        for slot, queue in enumerate(self._inputs):
            if not queue.packets and self._shifted(slot) <= self.bound:
                return None
        self.timestamp = self.bound
        return self._take(self.bound)

    def _align(self, base: Timestamp) -> None:
        is_aligned = True
        for slot, queue in enumerate(self._inputs):
            if slot != self._base:
                if queue.packets:
                    self._offsets[slot] = base - queue.packets[0][0]
                else:
                    is_aligned = False
        self._is_aligned = is_aligned

    def _shifted(self, slot: int) -> Timestamp:
        timestamp = self._inputs[slot].head_or_bound()
        if is_range_value(timestamp):
            return timestamp + self._offsets[slot]
        return timestamp

    def _take(self, timestamp: Timestamp) -> list[Any]:
        return [
            pop_at(queue, timestamp - offset)
            for queue, offset in zip(self._inputs, self._offsets, strict=True)
        ]

"""Input policies by the names that a pbtxt uses, each with the options of its handler."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from ovms_mp.graph.fixed_size import FixedSizePolicy
from ovms_mp.graph.names import parse_tag_index
from ovms_mp.graph.policy import (
    BatchedPolicy,
    InputPolicy,
    OneInputPolicy,
    SettledPolicy,
    SynchronisedPolicy,
)
from ovms_mp.graph.unsynchronised import (
    BarrierPolicy,
    EarlyClosePolicy,
    ImmediatePolicy,
    MuxPolicy,
    SyncSetPolicy,
    TimestampAlignPolicy,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ovms_mp.graph.stream import InputStream


Slots: TypeAlias = "Mapping[tuple[str, int], int]"
"""Positions of inputs by (tag, index)."""


class MakePolicy(Protocol):
    """What a node's definition keeps: a policy for each run of it."""

    def __call__(self, inputs: Sequence[InputStream]) -> InputPolicy:
        """A policy over the node's queues."""
        ...


def make_policy(
    name: str,
    options: Any | None,
    slots: Slots,
    *,
    processes_bounds: bool,
) -> MakePolicy:
    """The policy of a node: handler `name` with its options message, or None for the
    defaults. `slots` has the positions of the inputs by (tag, index).

    Raises KeyError for a name or a stream that is unknown; options are judged when the
    pbtxt is read.
    """
    return POLICIES[name](options, slots, processes_bounds)


def _default(options: Any | None, slots: Slots, processes_bounds: bool) -> MakePolicy:
    simple: MakePolicy = SynchronisedPolicy
    if processes_bounds:
        simple = SettledPolicy
    elif len(slots) == 1:
        simple = OneInputPolicy
    size = options.batch_size if options is not None else 1
    if size == 1:
        return simple
    return lambda inputs: BatchedPolicy(simple(inputs), size)


def _immediate(options: Any | None, slots: Slots, processes_bounds: bool) -> MakePolicy:
    return partial(ImmediatePolicy, processes_bounds=processes_bounds)


def _sync_set(options: Any | None, slots: Slots, processes_bounds: bool) -> MakePolicy:
    listed = options.sync_set if options is not None else ()
    groups = [
        [slots[parse_tag_index(each)] for each in group.tag_index] for group in listed
    ]
    taken = {slot for group in groups for slot in group}
    rest = [slot for slot in range(len(slots)) if slot not in taken]
    if rest:
        groups.append(rest)
    return partial(SyncSetPolicy, groups=groups, processes_bounds=processes_bounds)


def _fixed_size(
    options: Any | None, slots: Slots, processes_bounds: bool
) -> MakePolicy:
    if options is None:
        return partial(FixedSizePolicy, processes_bounds=processes_bounds)
    return partial(
        FixedSizePolicy,
        trigger=options.trigger_queue_size,
        target=options.target_queue_size,
        is_minimum=options.fixed_min_size,
        processes_bounds=processes_bounds,
    )


def _mux(options: Any | None, slots: Slots, processes_bounds: bool) -> MakePolicy:
    # MediaPipe orders the inputs of a node by their tags; the last one selects.
    return partial(MuxPolicy, order=[slots[each] for each in sorted(slots)])


def _barrier(options: Any | None, slots: Slots, processes_bounds: bool) -> MakePolicy:
    return BarrierPolicy


def _early_close(
    options: Any | None, slots: Slots, processes_bounds: bool
) -> MakePolicy:
    return EarlyClosePolicy


def _timestamp_align(
    options: Any | None, slots: Slots, processes_bounds: bool
) -> MakePolicy:
    base = options.timestamp_base_tag_index if options is not None else ""
    return partial(TimestampAlignPolicy, base=slots[parse_tag_index(base)])


POLICIES: Final[Mapping[str, Callable[[Any | None, Slots, bool], MakePolicy]]] = {
    "": _default,
    "DefaultInputStreamHandler": _default,
    "ImmediateInputStreamHandler": _immediate,
    "SyncSetInputStreamHandler": _sync_set,
    "FixedSizeInputStreamHandler": _fixed_size,
    "MuxInputStreamHandler": _mux,
    "BarrierInputStreamHandler": _barrier,
    "EarlyCloseInputStreamHandler": _early_close,
    "TimestampAlignInputStreamHandler": _timestamp_align,
}

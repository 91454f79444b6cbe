"""What an `input_stream_handler` may say for a node, judged where a graph is read:
MediaPipe ends the process for most of what is refused here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ovms_mp.graph.names import BadName, parse_tag_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from google.protobuf.message import Message

DEFAULT: Final = "DefaultInputStreamHandler"
MUX: Final = "MuxInputStreamHandler"

OPTIONS: Final[dict[str, str]] = {
    DEFAULT: "mediapipe.DefaultInputStreamHandlerOptions",
    "ImmediateInputStreamHandler": "",
    "BarrierInputStreamHandler": "",
    "EarlyCloseInputStreamHandler": "",
    MUX: "",
    "FixedSizeInputStreamHandler": "mediapipe.FixedSizeInputStreamHandlerOptions",
    "SyncSetInputStreamHandler": "mediapipe.SyncSetInputStreamHandlerOptions",
    "TimestampAlignInputStreamHandler": (
        "mediapipe.TimestampAlignInputStreamHandlerOptions"
    ),
}
"""MediaPipe's handlers, and the full name of each one's options; empty for none."""

_TagIndexes = frozenset[tuple[str, int]]


class BadHandler(ValueError):
    """A handler that cannot serve the node; the text says what was expected."""


def judged(handler: Any, inputs: _TagIndexes, max_in_flight: int) -> Message | None:
    """The options of an InputStreamHandlerConfig for a node with these inputs, None if
    it gives none. Raises BadHandler.
    """
    name = handler.input_stream_handler
    wanted = OPTIONS.get(name)
    if wanted is None:
        known = ", ".join(OPTIONS)
        msg = f'input stream handler "{name}" does not exist: expected {known}'
        raise BadHandler(msg)
    options: Any = None
    for extension, value in handler.options.ListFields():
        if not extension.is_extension:
            continue
        full_name = value.DESCRIPTOR.full_name
        if full_name != wanted:
            takes = f"takes {wanted}" if wanted else "takes no options"
            msg = f"{name} {takes}, found {full_name}"
            raise BadHandler(msg)
        options = value
    check(name, options, inputs, max_in_flight)
    return options


def check(name: str, options: Any, inputs: _TagIndexes, max_in_flight: int) -> None:
    """Judge a handler that the pbtxt or a calculator chooses. Raises BadHandler."""
    if not inputs:
        return  # nothing waits for inputs that do not exist
    for problem in _CHECKS[name](options, inputs, max_in_flight):
        msg = f"{name}: {problem}"
        raise BadHandler(msg)


def _nothing(options: Any, inputs: _TagIndexes, max_in_flight: int) -> Iterator[str]:
    yield from ()


def _default(options: Any, inputs: _TagIndexes, max_in_flight: int) -> Iterator[str]:
    if options is None:
        return
    if options.batch_size < 1:
        yield f"expected a batch_size of at least 1, found {options.batch_size}"
    if options.batch_size > 1 and max_in_flight > 1:
        yield "a batch_size above 1 excludes a max_in_flight above 1"


def _mux(options: Any, inputs: _TagIndexes, max_in_flight: int) -> Iterator[str]:
    if len(inputs) < 2:
        yield (
            "expected at least two input streams, the last of which selects, "
            f"found {len(inputs)}"
        )


def _fixed_size(options: Any, inputs: _TagIndexes, max_in_flight: int) -> Iterator[str]:
    if options is None:
        return
    trigger, target = options.trigger_queue_size, options.target_queue_size
    if target < 1 or trigger < target:
        yield (
            "expected a target_queue_size of at least 1 and a trigger_queue_size that "
            f"is not below it, found {target} and {trigger}"
        )


def _sync_set(options: Any, inputs: _TagIndexes, max_in_flight: int) -> Iterator[str]:
    used: set[tuple[str, int]] = set()
    for sync_set in () if options is None else options.sync_set:
        if not sync_set.tag_index:
            yield "expected at least one tag_index in a sync_set"
        for text in sync_set.tag_index:
            yield from _unknown(text, inputs)
            tag_index = parse_tag_index(text)
            if tag_index in used:
                yield f'the stream "{text}" stands in the sync sets twice'
            used.add(tag_index)


def _align(options: Any, inputs: _TagIndexes, max_in_flight: int) -> Iterator[str]:
    base = "" if options is None else options.timestamp_base_tag_index
    for problem in _unknown(base, inputs):
        yield f"timestamp_base_tag_index: {problem}"


def _unknown(text: str, inputs: _TagIndexes) -> Iterator[str]:
    try:
        tag_index = parse_tag_index(text)
    except BadName as error:
        yield f'"{text}": {error}'
        return
    if tag_index not in inputs:
        yield f'"{text}" is no input stream of the node, which has {_listed(inputs)}'


def _listed(inputs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f'"{tag}:{index}"' for tag, index in sorted(inputs))


_CHECKS: Final[dict[str, Callable[[Any, _TagIndexes, int], Iterator[str]]]] = (
    dict.fromkeys(OPTIONS, _nothing)
    | {
        DEFAULT: _default,
        MUX: _mux,
        "FixedSizeInputStreamHandler": _fixed_size,
        "SyncSetInputStreamHandler": _sync_set,
        "TimestampAlignInputStreamHandler": _align,
    }
)

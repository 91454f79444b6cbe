"""SwitchContainer: a subgraph that is made for the node that uses it. Its packets go to
one of the contained nodes, through SwitchDemuxCalculator and back through
SwitchMuxCalculator (MediaPipe's tool/switch_container.cc).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ovms_mp_protos import graph as protos

from ovms_mp.graph import names
from ovms_mp.graph.option_values import options_of
from ovms_mp.graph.positions import Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ovms_mp.graph.pbtxt import Types

NAME: Final = "SwitchContainer"
OPTIONS: Final = "mediapipe.SwitchContainerOptions"

_TagIndex = tuple[str, int]
_SIDES: Final = (
    "input_stream",
    "output_stream",
    "input_side_packet",
    "output_side_packet",
)
_SELECTORS: Final = (("SELECT", 0), ("ENABLE", 0))


class BadSwitch(ValueError):
    """A SwitchContainer that cannot be expanded; the text says why."""


def expand(container: Any, types: Types) -> tuple[Any, int]:
    """The graph message for one container node, and how many of its nodes, the first
    ones, are not contained nodes. Raises BadSwitch and BadName.
    """
    return _Switch(container, types).graph()


def settled(
    container: Any, position: Position, types: Types
) -> tuple[Any, Position] | None:
    """Of a container without selectors the one node that its options choose, with the
    container's streams and side packets, and where it stands. None while something else
    may choose, and where the options do not choose a plain node. Raises BadName.
    """
    for side in ("input_stream", "input_side_packet"):
        if any(map(_is_selector, getattr(container, side))):
            return None
    options: Any = (
        options_of(container.options, container.node_options, OPTIONS, types)
        or protos.SwitchContainerOptions()
    )
    nodes, channel = options.contained_node, options.select or int(options.enable)
    if not 0 <= channel < len(nodes) or not nodes[channel].calculator:
        return None
    if nodes[channel].option_value:
        return None
    node = type(container)()
    node.CopyFrom(nodes[channel])
    for side in _SIDES:
        getattr(node, side).extend(getattr(container, side))
    return node, contained_positions(position, len(nodes))[channel]


def contained_positions(container: Position, count: int) -> list[Position]:
    """Where the contained nodes stand; at the container where that is unknown."""
    found = [
        position
        for field in ("options", "node_options")
        for options in container.fields.get(field, ())
        for name, values in options.fields.items()
        if "SwitchContainerOptions" in name
        for value in values
        for position in value.fields.get("contained_node", ())
    ]
    return found if len(found) == count else [Position(container.line)] * count


class _Switch:
    def __init__(self, container: Any, types: Types) -> None:
        self._container = container
        options: Any = options_of(
            container.options, container.node_options, OPTIONS, types
        )
        self._options: Any = options or protos.SwitchContainerOptions()
        self._config: Any = protos.CalculatorGraphConfig()
        self._tags = {side: _tags(getattr(container, side)) for side in _SIDES}
        self._check()

    def _check(self) -> None:
        if self._options.HasField("select") and self._options.HasField("enable"):
            msg = "only one of the options `select` and `enable` may be set"
            raise BadSwitch(msg)
        for side in ("input_stream", "input_side_packet"):
            if all(tag in self._tags[side] for tag in _SELECTORS):
                msg = f"only one {side} of SELECT and ENABLE may be given"
                raise BadSwitch(msg)
        for each in self._options.tick_input_stream:
            names.parse_tag_index(each)

    def graph(self) -> tuple[Any, int]:
        config, options = self._config, self._options
        selections: list[str] = []
        timed: list[Any] = []
        for tag, _ in _SELECTORS:
            name = f"gate_{tag.lower()}"
            if (tag, 0) in self._tags["input_stream"]:
                timed.append(self._sequencer(name))
                name += "_timed"
            selections.append(f"{tag}:{name}")
        demux = self._router("SwitchDemuxCalculator", selections)
        mux = self._router("SwitchMuxCalculator", selections)
        for tag, _ in _SELECTORS:
            config.input_stream.append(f"{tag}:gate_{tag.lower()}")
            config.input_side_packet.append(f"{tag}:gate_{tag.lower()}")
        fixed = len(config.node)
        tags = {
            side: _tags(
                text
                for text in getattr(self._container, side)
                if not (side.startswith("input") and _is_selector(text))
            )
            for side in _SIDES
        }
        self._ticks(tags["input_stream"], timed)
        for side, by_tag in tags.items():
            outer = demux if side.startswith("input") else mux
            for tag, name in by_tag.items():
                getattr(config, side).append(_stream(tag, name))
                getattr(outer, side).append(_stream(tag, name))
        for channel, contained in enumerate(options.contained_node):
            node = config.node.add()
            node.CopyFrom(contained)
            for side, by_tag in tags.items():
                is_input = side.startswith("input")
                outer = demux if is_input else mux
                other = (
                    side.replace("input", "output")
                    if is_input
                    else side.replace("output", "input")
                )
                for (tag, index), name in by_tag.items():
                    inner = f"c{channel}__{name}"
                    getattr(node, side).append(_stream((tag, index), inner))
                    routed = _stream((f"C{channel}__{tag}", index), inner)
                    getattr(outer, other).append(routed)
        return config, fixed

    def _sequencer(self, name: str) -> Any:
        node = self._config.node.add(calculator="PacketSequencerCalculator")
        if not self._options.async_selection:
            handler = node.input_stream_handler
            handler.input_stream_handler = "DefaultInputStreamHandler"
        node.input_stream.append(f"INPUT:{name}")
        node.output_stream.append(f"OUTPUT:{name}_timed")
        return node

    def _router(self, calculator: str, selections: Iterable[str]) -> Any:
        node = self._config.node.add(calculator=calculator)
        node.input_stream.extend(selections)
        node.input_side_packet.extend(
            f"{tag}:gate_{tag.lower()}" for tag, _ in _SELECTORS
        )
        if self._container.HasField("options"):
            node.options.CopyFrom(self._container.options)
            if node.options.HasExtension(protos.SwitchContainerOptions.ext):
                mine: Any = node.options.Extensions[protos.SwitchContainerOptions.ext]
                mine.ClearField("contained_node")
        for each in self._container.node_options:
            packed = node.node_options.add()
            packed.CopyFrom(each)
            if each.TypeName() == OPTIONS:
                mine = protos.SwitchContainerOptions.FromString(each.value)
                mine.ClearField("contained_node")
                packed.value = mine.SerializePartialToString()
        return node

    def _ticks(self, inputs: Mapping[_TagIndex, str], timed: Iterable[Any]) -> None:
        wanted = {names.parse_tag_index(t) for t in self._options.tick_input_stream}
        ticking = [name for tag, name in inputs.items() if not wanted or tag in wanted]
        for node in timed:
            node.input_stream.extend(
                _stream(("TICK", index), name) for index, name in enumerate(ticking)
            )


def _tags(texts: Iterable[str]) -> dict[_TagIndex, str]:
    return dict(sorted(_numbered(texts)))


def _numbered(texts: Iterable[str]) -> Iterator[tuple[_TagIndex, str]]:
    used: set[str] = set()
    untagged = 0
    for text in texts:
        tag, index, name = names.parse(text)
        if index is None:
            index = untagged
            untagged += 1
        unique, suffix = name, 2
        while unique in used:
            unique = f"{name}_{suffix}"
            suffix += 1
        used.add(unique)
        yield (tag, index), unique


def _is_selector(text: str) -> bool:
    """True for what moves the switch and does not go through it."""
    tag, index, _ = names.parse(text)
    return (tag, index) in _SELECTORS


def _stream(tag_index: _TagIndex, name: str) -> str:
    tag, index = tag_index
    if not tag:
        return name
    return f"{tag}:{index}:{name}" if index > 0 else f"{tag}:{name}"

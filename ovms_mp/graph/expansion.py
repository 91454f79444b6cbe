"""The nodes of a graph when every subgraph stands where it is used: names get a prefix,
streams of the subgraph become those that its user gives (MediaPipe's
tool/subgraph_expansion.cc).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ovms_mp_protos import graph as protos

from ovms_mp.core.errors import ServingError
from ovms_mp.graph import names, option_values, pbtxt, switch
from ovms_mp.graph.names import BadName, StreamName
from ovms_mp.graph.option_values import BadOptionValue
from ovms_mp.graph.pbtxt import GraphConfigError, GraphText, OptionsOf, invalid, refused
from ovms_mp.graph.positions import Position
from ovms_mp.graph.subgraphs import DuplicateSubgraph
from ovms_mp.graph.switch import BadSwitch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ovms_mp.graph.pbtxt import Types
    from ovms_mp.graph.subgraphs import Subgraphs

# Subgraphs multiply: a few small files could ask for any number of nodes.
MAX_NODES: Final = 10_000
MAX_BYTES: Final = 16 << 20
MAX_NESTING: Final = 32
MAX_PREFIX: Final = 1_000

_STREAMS: Final = ("input_stream", "output_stream")
_SIDE_PACKETS: Final = ("input_side_packet", "output_side_packet")
_SIDES: Final = (*_STREAMS, *_SIDE_PACKETS)
_ONLY_OF_CALCULATORS: Final = (
    "source_layer",
    "buffer_size_hint",
    "output_stream_handler",
    "input_stream_info",
)


class Use(NamedTuple):
    """A node that was a subgraph: what names within begin with, and the graph's type."""

    prefix: str
    graph_type: str


@dataclass(slots=True)
class Node:
    """A node on its way into the whole graph. `message` and `position` are its own;
    `users` are the subgraphs that it is in, from the outermost, `within` these uses of
    them, and `used_by` says for messages which node brought the innermost.
    """

    message: Any
    position: Position
    file: str
    types: Types
    users: tuple[str, ...] = ()
    used_by: str = ""
    within: tuple[Use, ...] = ()

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.message.name or self.message.calculator

    def error(self, message: str, field: str = "", index: int = 0) -> GraphConfigError:
        """An error at a field of this node, or at its first line."""
        line = self.position.at(field, index) if field else self.position.line
        text = f'node "{self.label}": {message}{self.used_by}'
        return refused(self.file, line, text)


@dataclass(slots=True)
class _Graph:
    """A graph whose nodes may be subgraphs."""

    message: Any
    position: Position
    file: str
    nodes: list[Node]
    generators: list[Node]


def expand(
    text: GraphText, subgraphs: Subgraphs | None, options: OptionsOf | None
) -> list[Node]:
    """All nodes, generators first, in MediaPipe's order. Raises GraphConfigError, or
    ServingError where the file of a subgraph cannot be read.
    """
    return _Expansion(subgraphs, options).of(text)


def _graph(text: GraphText, users: tuple[str, ...], used_by: str) -> _Graph:
    message, position = text.message, text.position
    if message.status_handler:
        line = position.at("status_handler")
        what = "status handlers do not exist here: see `close` of a calculator"
        raise refused(text.file, line, f"{what}{used_by}")
    if users and message.packet_factory:
        line = position.at("packet_factory")
        what = "a subgraph may not have packet factories"
        raise refused(text.file, line, f"{what}{used_by}")

    def node(message: Any, position: Position) -> Node:
        return Node(message, position, text.file, text.types, users, used_by)

    nodes: list[Node] = []
    for number, each in enumerate(message.node):
        copy = type(each)()
        copy.CopyFrom(each)
        nodes.append(node(copy, _own(position.child("node", number))))
    generators: list[Node] = []
    for field in ("packet_generator", "packet_factory"):
        for number, each in enumerate(getattr(message, field)):
            for name in pbtxt.legacy_fields(each):
                line = position.child(field, number).at(name)
                raise refused(text.file, line, f"`{name}` was renamed{used_by}")
            made = _node_of(each)
            generators.append(node(made, _own(position.child(field, number))))
    for each in (*nodes, *generators):
        if not each.message.calculator:
            line = each.position.line
            raise invalid(text.file, line, f"a node names no calculator{used_by}")
    return _Graph(message, position, text.file, nodes, generators)


def _own(position: Position) -> Position:
    """A copy whose lists may be changed with the node's."""
    fields = {name: list(values) for name, values in position.fields.items()}
    return replace(position, fields=fields)


def _node_of(generator: Any) -> Any:
    """The node that does what a packet generator or factory does."""
    node: Any = protos.CalculatorGraphConfig.Node()
    node.calculator = getattr(generator, generator.DESCRIPTOR.fields[0].name)
    for side in _SIDE_PACKETS:
        given = getattr(generator, side, ())
        getattr(node, side).extend([given] if isinstance(given, str) else given)
    for extension, value in generator.options.ListFields():
        if extension.is_extension:
            packed = node.node_options.add()
            packed.type_url = f"type.googleapis.com/{value.DESCRIPTOR.full_name}"
            packed.value = value.SerializePartialToString()
    return node


class _Expansion:
    def __init__(self, subgraphs: Subgraphs | None, options: OptionsOf | None) -> None:
        self._subgraphs = subgraphs
        self._options = options
        self._bytes = 0
        self._count = 0

    def of(self, text: GraphText) -> list[Node]:
        users = (text.message.type,) if text.message.type else ()
        graph = _graph(text, (), "")
        for each in graph.nodes:
            each.users = users
        self._count = len(graph.nodes)
        self._apply_options(graph, None)
        nodes, generators = graph.nodes, graph.generators
        while True:
            calculators: list[Node] = []
            uses: list[tuple[Node, GraphText | None]] = []
            for node in nodes:
                found = self._find(node)
                if found is None and node.message.calculator != switch.NAME:
                    calculators.append(node)
                else:
                    uses.append((node, found))
            if not uses:
                return [*generators, *calculators]
            nodes = calculators
            named = names.distinct(
                each.label for each in (*calculators, *(node for node, _ in uses))
            )
            for (node, found), name in zip(
                uses, named[len(calculators) :], strict=True
            ):
                inner = self._expanded(node, found, name)
                nodes.extend(inner.nodes)
                generators.extend(inner.generators)

    def _find(self, node: Node) -> GraphText | None:
        if self._subgraphs is None:
            return None
        name = node.message.calculator
        try:
            return self._subgraphs.find(name, self._options)
        except DuplicateSubgraph as error:
            raise node.error(str(error)) from error
        except GraphConfigError as error:
            message = error.details.partition(": ")[2] + _used_by(node)
            raise GraphConfigError(
                error.status, error.file, error.line, message
            ) from error
        except ServingError as error:
            raise node.error(f'subgraph "{name}": {error.details}') from error

    def _expanded(self, node: Node, found: GraphText | None, name: str) -> _Graph:
        graph_type = node.message.calculator
        if graph_type in node.users:
            cycle = [*node.users[node.users.index(graph_type) :], graph_type]
            chain = " -> ".join(f'"{each}"' for each in cycle)
            raise node.error(f"a subgraph may not contain itself: {chain}")
        if len(node.users) >= MAX_NESTING:
            raise node.error(f"subgraphs are nested deeper than {MAX_NESTING} levels")
        for field in _ONLY_OF_CALCULATORS:
            if any(field == each.name for each, _ in node.message.ListFields()):
                message = f"`{field}` is for calculators, and this is a subgraph"
                raise node.error(message, field)
        prefix = _prefix(node, name)
        if found is None:
            graph = _switched(node)
            self._charge(node, graph.message, prefix)
        else:
            self._charge(node, found.message, prefix)
            graph = _graph(found, (*node.users, graph_type), _used_by(node))
        self._apply_options(graph, node)
        _add_prefix(graph, prefix)
        _connect(node, graph, prefix)
        for each in (*graph.nodes, *graph.generators):
            each.within = (*node.within, Use(prefix, graph_type))
        return graph

    def _charge(self, node: Node, message: Any, prefix: str) -> None:
        """Refuse a graph that grows out of bounds, before it does."""
        every = sum(
            len(getattr(each, side)) for each in message.node for side in _SIDES
        )
        self._count += len(message.node)
        self._bytes += message.ByteSize() + len(prefix) * (every + len(message.node))
        if self._count > MAX_NODES:
            message = f"subgraphs make a graph of more than {MAX_NODES} nodes"
            raise node.error(message)
        if self._bytes > MAX_BYTES:
            raise node.error(f"subgraphs make a graph of more than {MAX_BYTES} bytes")

    def _apply_options(self, graph: _Graph, parent: Node | None) -> None:
        given = None if parent is None else parent.message
        for node in graph.nodes:
            if not node.message.option_value:
                continue
            try:
                option_values.apply(node.message, graph.message, given, node.types)
            except (BadOptionValue, KeyError) as error:
                raise node.error(str(error), "option_value") from error


def _used_by(node: Node) -> str:
    place = f"{node.file}:{node.position.line}"
    return f'\nin subgraph "{node.message.calculator}" that {place} uses'


def _switched(node: Node) -> _Graph:
    try:
        message, fixed = switch.expand(node.message, node.types)
    except (BadSwitch, BadName) as error:
        raise node.error(str(error)) from error
    own = Position(node.position.line)
    count = len(message.node) - fixed
    places = [own] * fixed + switch.contained_positions(node.position, count)
    nodes = [
        Node(each, _own(place), node.file, node.types, node.users, node.used_by)
        for each, place in zip(message.node, places, strict=True)
    ]
    for each in nodes:
        if not each.message.calculator:
            raise node.error("a contained node names no calculator")
    return _Graph(message, own, node.file, nodes, [])


def _prefix(node: Node, name: str) -> str:
    prefix = name.lower().translate(str.maketrans(". :", "___"))
    if len(prefix) > MAX_PREFIX:
        raise node.error(f"the name is longer than {MAX_PREFIX} characters")
    return f"{prefix}__"


def _add_prefix(graph: _Graph, prefix: str) -> None:
    labels = names.distinct(each.label for each in graph.nodes)
    for node, name in zip(graph.nodes, labels, strict=True):
        node.message.name = prefix + name
    for node in (*graph.nodes, *graph.generators):
        for side in _SIDES:
            _rename(node, side, lambda name: prefix + name)


def _rename(node: Node, side: str, rename: Callable[[str], str]) -> None:
    texts = getattr(node.message, side)
    for number, text in enumerate(texts):
        tag, colon, name = text.rpartition(":")
        texts[number] = tag + colon + rename(name)


def _connect(node: Node, graph: _Graph, prefix: str) -> None:
    """Streams at the border of the subgraph get the names of its user."""
    renamed: dict[str, dict[str, str]] = {}
    ignored: dict[str, set[str]] = {}
    for sides in (_STREAMS, _SIDE_PACKETS):
        mapping: dict[str, str] = {}
        for side in sides:
            inner = _border(graph, side)
            outer = _given(node, side)
            _check_given(node, side, inner, outer)
            by_place = {(each.tag, each.index): each.name for each in outer}
            for each in inner:
                name = prefix + each.name
                given = by_place.get((each.tag, each.index))
                if given is not None:
                    mapping[name] = given
                else:
                    ignored.setdefault(side, set()).add(name)
        for side in sides:
            renamed[side] = mapping
    for each in (*graph.nodes, *graph.generators):
        for side in _SIDES:
            mapping = renamed[side]
            _rename(each, side, lambda name, m=mapping: m.get(name, name))
            if side.startswith("input"):
                _remove(each, side, ignored.get(side, set()))


def _border(graph: _Graph, side: str) -> tuple[StreamName, ...]:
    texts = getattr(graph.message, side)
    lines = [graph.position.at(side, number) for number in range(len(texts))]
    try:
        found = names.numbered(texts, lines, side)
        names.check_indexes(found, side)
    except BadName as error:
        raise refused(graph.file, error.line, str(error)) from error
    return found


def _given(node: Node, side: str) -> tuple[StreamName, ...]:
    texts = getattr(node.message, side)
    lines = [node.position.at(side, number) for number in range(len(texts))]
    try:
        found = names.numbered(texts, lines, side)
        names.check_indexes(found, side)
    except BadName as error:
        message = f'node "{node.label}": {error}{node.used_by}'
        raise refused(node.file, error.line, message) from error
    return found


def _check_given(
    node: Node, side: str, inner: Iterable[StreamName], outer: Iterable[StreamName]
) -> None:
    has = Counter(each.tag for each in inner)
    wants = Counter(each.tag for each in outer)
    for number, each in enumerate(outer):
        if wants[each.tag] <= has[each.tag]:
            continue
        tag = f"tag {each.tag}" if each.tag else "without a tag"
        kind = side.replace("_", " ")
        problem = (
            f"{kind} {tag} does not exist in the subgraph"
            if not has[each.tag]
            else f"{kind} {tag} is given {wants[each.tag]} times, "
            f"the subgraph has {has[each.tag]}"
        )
        raise node.error(problem, side, number)


def _remove(node: Node, side: str, ignored: set[str]) -> None:
    texts = getattr(node.message, side)
    lines = node.position.fields.get(side, [])
    count = len(texts)
    for number in reversed(range(count)):
        if texts[number].rpartition(":")[2] in ignored:
            if len(lines) == len(texts):
                del lines[number]
            del texts[number]
    if len(texts) < count and node.message.calculator == switch.NAME:
        _settle(node)


def _settle(node: Node) -> None:
    """A container that nobody can switch any more is the node that it contains then: the
    others, and their models, need not be there.
    """
    try:
        found = switch.settled(node.message, node.position, node.types)
    except BadName as error:
        raise node.error(str(error)) from error
    if found is not None:
        prefix = _prefix(node, node.message.name)
        node.message, node.position = found[0], _own(found[1])
        node.message.name = prefix + node.label

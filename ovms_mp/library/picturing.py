"""A graph that was explained becomes a drawing: nodes are boxes, streams and side packets
pills between them, subgraphs boxes around them, or in their place.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ovms_mp.drawing.items import Drawing, Item, Link, Look
from ovms_mp.library.explanation import DEFAULT_POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovms_mp.library.explanation import Explanation, Node, Port, Subgraph


def drawing_of(
    graph: Explanation,
    *,
    expand: bool = False,
    is_public: bool = False,
    within: str = "",
) -> Drawing:
    """What is to be seen of a graph: subgraphs folded, or with `expand` what is in them;
    all of it, or what is `within` the use of a subgraph with this prefix.
    Keys are `node:`, `stream:`, `side:` and `subgraph:` before the names in the graph.
    One that `is_public` tells no files and no options, for whoever uses the graph.
    """
    return _Drawn(graph, expand=expand, is_public=is_public, within=within).drawing()


class _Place(NamedTuple):
    """The item that a node is seen as, and the groups that it is in."""

    key: str
    within: tuple[str, ...]


class _Drawn:
    def __init__(
        self, graph: Explanation, *, expand: bool, is_public: bool, within: str
    ) -> None:
        self._graph = graph
        self._within = within
        self._inputs, self._outputs = _border(graph, within)
        self._is_public = is_public
        self._expand = expand
        self._items: dict[str, Item] = {}
        self._members: dict[str, list[Node]] = defaultdict(list)
        self._prefixes = {"": within}
        self._pills: dict[str, Port] = {}
        self._makers: dict[str, set[_Place]] = defaultdict(set)
        self._users: dict[str, dict[_Place, bool]] = defaultdict(dict)

    def drawing(self) -> Drawing:
        """Everything."""
        for number, node in enumerate(self._graph.nodes):
            if not _is_within(node, self._within):
                continue
            for each in self._uses(node):
                self._members[f"subgraph:{each.prefix}"].append(node)
                self._prefixes[f"subgraph:{each.prefix}"] = each.prefix
            self._note(number, node)
        links: list[Link] = []
        for key in self._streams():
            item = self._pill(key)
            if item is not None:
                self._items[key] = item
                links += self._links(key, item)
        groups = [each for each in self._items.values() if each.look is Look.GROUP]
        rest = [each for each in self._items.values() if each.look is not Look.GROUP]
        return Drawing((*groups, *rest), tuple(links))

    def _uses(self, node: Node) -> tuple[Subgraph, ...]:
        """The subgraphs that it is in, of those that are to be seen."""
        prefixes = [each.prefix for each in node.within]
        return node.within[prefixes.index(self._within) + 1 if self._within else 0 :]

    def _note(self, number: int, node: Node) -> None:
        place = self._place(number, node)
        for kind, ports, is_made in (
            ("stream", node.inputs, False),
            ("stream", node.outputs, True),
            ("side", node.side_inputs, False),
            ("side", node.side_outputs, True),
        ):
            for port in ports:
                key = f"{kind}:{port.name}"
                if is_made or key not in self._pills:
                    self._pills[key] = port
                if is_made:
                    self._makers[key].add(place)
                else:
                    users = self._users[key]
                    users[place] = users.get(place, True) and port.is_back_edge

    def _place(self, number: int, node: Node) -> _Place:
        uses = self._uses(node)
        keys = [f"subgraph:{each.prefix}" for each in uses]
        if keys and not self._expand:
            if keys[0] not in self._items:
                self._items[keys[0]] = Item(keys[0], Look.FOLDED, ())
            return _Place(keys[0], ())
        for depth, (key, use) in enumerate(zip(keys, uses, strict=True)):
            if key not in self._items:
                outer = keys[depth - 1] if depth else ""
                self._items[key] = _group(key, use, outer, self._prefixes[outer])
        # Names need not be unique.
        key = f"node:{number}:{node.name}"
        inside = keys[-1] if keys else ""
        self._items[key] = Item(
            key,
            Look.NODE,
            _lines(node),
            _title(node, is_public=self._is_public),
            inside,
        )
        return _Place(key, tuple(keys))

    def _streams(self) -> list[str]:
        for key, item in self._items.items():
            if item.look is Look.FOLDED:
                self._items[key] = self._folded(item)
        for port in (*self._inputs, *self._outputs):
            self._pills.setdefault(f"stream:{port.name}", port)
        return [*self._pills]

    def _folded(self, item: Item) -> Item:
        members = self._members[item.key]
        (use, *_) = self._uses(members[0])
        models = dict.fromkeys(node.model for node in members if node.model)
        lines = (
            *_names(use, self._within),
            _count(len(members), "node"),
            *(f"model {model}" for model in models),
        )
        title = "\n".join((*lines, *(node.short_name for node in members)))
        return Item(item.key, Look.FOLDED, lines, title)

    def _pill(self, key: str) -> Item | None:
        """None for what nobody outside of a folded subgraph sees."""
        makers, users = self._makers[key], self._users[key]
        kind, _, name = key.partition(":")
        is_stream = kind == "stream"
        inputs = {port.name: port for port in self._inputs}
        outputs = {port.name: port for port in self._outputs}
        is_border = is_stream and (name in inputs or name in outputs)
        everybody = {*makers, *users}
        if not is_border and len(everybody) == 1:
            (only,) = everybody
            if self._items[only.key].look is Look.FOLDED:
                return None
        inside = "" if is_border else _common([each.within for each in everybody])
        port = self._pills[key]
        look = Look.STREAM if is_stream else Look.SIDE
        if is_border:
            look = Look.INPUT if name in inputs else Look.OUTPUT
            port = inputs.get(name) or outputs[name]
        label = name.removeprefix(self._prefixes[inside])
        shown = f"{port.tag}:{label}" if is_border and port.tag else label
        return Item(key, look, (shown,), _told(port), inside)

    def _links(self, key: str, item: Item) -> Iterator[Link]:
        is_side = item.look is Look.SIDE
        for maker in sorted(self._makers[key]):
            yield Link(maker.key, key, is_side=is_side, title=item.title)
        for user, is_back in self._users[key].items():
            if user not in self._makers[key] or is_back:
                yield Link(key, user.key, is_back, is_side, item.title)


def _is_within(node: Node, prefix: str) -> bool:
    return not prefix or any(each.prefix == prefix for each in node.within)


def _border(graph: Explanation, within: str) -> tuple[Sequence[Port], Sequence[Port]]:
    """What comes into a graph, or the use of a subgraph, and what leaves it, each once."""
    if not within:
        return graph.inputs, graph.outputs
    nodes = [(_is_within(node, within), node) for node in graph.nodes]
    made = {p.name for is_in, node in nodes if is_in for p in node.outputs}
    wanted = {p.name for is_in, node in nodes if not is_in for p in node.inputs}
    wanted.update(port.name for port in graph.outputs)
    inputs = [p for is_in, n in nodes if is_in for p in n.inputs if p.name not in made]
    outputs = [p for is_in, n in nodes if is_in for p in n.outputs if p.name in wanted]
    return tuple({p.name: replace(p, tag="") for p in inputs}.values()), tuple(
        {p.name: replace(p, tag="") for p in outputs}.values()
    )


def _group(key: str, use: Subgraph, inside: str, prefix: str) -> Item:
    name, *rest = _names(use, prefix)
    line = ": ".join((name, *rest))
    return Item(key, Look.GROUP, (line,), f"subgraph {line}", inside)


def _names(use: Subgraph, outer: str) -> tuple[str, ...]:
    """A use of a subgraph, within another one: its name if it has one, and its type."""
    name = use.prefix.removeprefix(outer).removesuffix("__")
    kind = use.graph_type
    return (kind,) if name == kind.lower() else (name, kind)


def _lines(node: Node) -> tuple[str, ...]:
    lines = [node.short_name]
    if not _is_named_after(node.short_name, node.calculator):
        lines.append(node.calculator)
    if node.model:
        lines.append(f"model {node.model}")
    if node.policy != DEFAULT_POLICY:
        lines.append(node.policy.removesuffix("InputStreamHandler") + " policy")
    if node.max_in_flight > 1:
        lines.append(f"{node.max_in_flight} in flight")
    if node.executor:
        lines.append(f"executor {node.executor}")
    if node.problem:
        lines.append("is not loaded")
    return tuple(lines)


def _is_named_after(name: str, calculator: str) -> bool:
    stem, _, number = name.rpartition("_")
    return name == calculator or (stem == calculator and number.isdigit())


def _title(node: Node, *, is_public: bool) -> str:
    parts = [node.name, node.calculator]
    if not is_public:
        parts.append(node.place)
    parts.append(node.policy)
    if node.policy_options and not is_public:
        parts.append(node.policy_options)
    parts += [f"in {port.label}: {_carried(port)}" for port in node.inputs]
    parts += [f"out {port.label}: {_carried(port)}" for port in node.outputs]
    if is_public:
        return "\n".join(parts)
    parts += node.options
    if node.problem:
        parts.append(node.problem)
    return "\n".join(parts)


def _told(port: Port) -> str:
    return f"{port.label}: {_carried(port)}"


def _carried(port: Port) -> str:
    if port.tensor is None:
        return port.payload
    return f"{port.payload} {port.tensor.datatype} {list(port.tensor.shape)}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _common(paths: Sequence[tuple[str, ...]]) -> str:
    """The innermost group that all of these are in."""
    first, *rest = paths
    found = ""
    for depth, key in enumerate(first):
        if any(path[depth : depth + 1] != (key,) for path in rest):
            break
        found = key
    return found

"""`ovms-mp explain`: what a graph is once everything is expanded, as text and as SVG."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ovms_mp.commands.managing import CONFIG_FILE
from ovms_mp.commands.parsing import Parser
from ovms_mp.core.errors import ServingError
from ovms_mp.repository import config as repository
from ovms_mp.repository.models import is_model_name, versions
from ovms_mp.settings import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovms_mp.library.explanation import Explanation, Node, Port

_INDENT: Final = " " * 6


def explain(arguments: Sequence[str]) -> int:
    """Print what a graph is, and draw it."""
    parser = Parser(
        prog="ovms-mp explain",
        description="Says what a graph is: its nodes with all subgraphs expanded, what "
        "their streams carry, when they run, and the models behind them.",
    )
    parser.add_argument(
        "source", metavar="GRAPH", help="a graph's folder, its pbtxt, or a config"
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="in a config")
    parser.add_argument("--svg", metavar="FILE", type=Path, help="draw it there")
    parser.add_argument(
        "--expand", action="store_true", help="draw what is in subgraphs, too"
    )
    parser.add_argument("--calculators_path", metavar="DIR", type=Path)
    given = parser.parse_args(arguments)
    source: str = given.source
    svg: Path | None = given.svg
    expand: bool = given.expand
    logging.getLogger("ovms_mp").addHandler(logging.NullHandler())
    try:
        name, graph = _explained(Path(source), given.name, given.calculators_path)
    except ServingError as error:
        print(" ".join(error.text.split()))
        return 1
    for line in _text(name, graph):
        print(line)
    if svg is not None:
        try:
            svg.write_text(_drawn(graph, name, expand=expand), encoding="utf-8")
        except OSError as error:
            print(f"{svg}: {error.strerror}")
            return 1
    return 1 if any(node.problem for node in graph.nodes) else 0


def _explained(
    path: Path, name: str | None, calculators: Path | None
) -> tuple[str, Explanation]:
    # Graphs bring numpy and OpenCV along, other commands do not need them.
    from ovms_mp.library import explanation
    from ovms_mp.library.models import ModelSet

    home = repository.graph_home(path) if path.is_dir() else None
    pbtxt = home / repository.GRAPH_FILE if home is not None else path
    if home is not None or path.suffix == ".pbtxt":
        if name is not None:
            raise UsageError("a name chooses a graph of a config, and this is a graph")
        graph = explanation.explain(pbtxt, calculators=calculators)
        return (pbtxt.parent.absolute().name if home else path.stem), graph
    config = path / CONFIG_FILE if path.is_dir() else path
    if is_model_name(path) or (path.is_dir() and not config.is_file()):
        what = "is a model's" if _is_a_models(path) else "has neither"
        raise UsageError(
            f"{path} {what}; expected the folder of a graph, with {repository.GRAPH_FILE}, "
            f"its pbtxt, or a config or the folder of one, with {CONFIG_FILE}"
        )
    read = repository.read(config)
    specs = {spec.name: spec for spec in read.graphs}
    if name is None and len(specs) == 1:
        (name,) = specs
    if name not in specs:
        known = ", ".join(specs) or "none"
        raise UsageError(f"name a graph of the config; it has: {known}")
    spec = specs[name]
    graph = explanation.explain(
        spec.graph_path,
        models=ModelSet({}, {model.name: model for model in read.models}),
        calculators=calculators,
        base_path=spec.base_path,
    )
    return name, graph


def _is_a_models(path: Path) -> bool:
    try:
        return is_model_name(path) or bool(versions(path))
    except ServingError:
        return False


def _drawn(graph: Explanation, name: str, *, expand: bool) -> str:
    from ovms_mp.drawing import layout, svg
    from ovms_mp.library.picturing import drawing_of

    return svg.write(layout.lay_out(drawing_of(graph, expand=expand)), f"graph {name}")


def _text(name: str, graph: Explanation) -> Iterator[str]:
    queue = graph.max_queue_size
    limit = f"at most {queue} packets wait at an input" if queue > 0 else "no limit"
    yield f"graph {name}: {len(graph.nodes)} nodes, {limit}"
    for title, ports in (
        ("input streams", graph.inputs),
        ("output streams", graph.outputs),
        ("side packets of a request", graph.side_inputs),
    ):
        if ports:
            yield title
            yield from _ports("", ports)
    if graph.side_outputs:
        yield f"output side packets: {', '.join(graph.side_outputs)}"
    yield "nodes, in the order in which they are opened"
    for number, node in enumerate(graph.nodes, start=1):
        yield from _node(number, node)


def _node(number: int, node: Node) -> Iterator[str]:
    named = "" if node.name == node.calculator else f"{node.calculator}, "
    yield f"{number:4}  {node.name} ({named}{node.place})"
    if node.within:
        path = " > ".join(each.graph_type for each in node.within)
        yield f"{_INDENT}in subgraph {path}"
    yield from _ports("takes", node.inputs)
    yield from _ports("makes", node.outputs)
    yield from _ports("takes once", node.side_inputs)
    yield from _ports("makes once", node.side_outputs)
    if node.model:
        yield f"{_INDENT}model       {node.model}"
    policy = f"{node.policy} {node.policy_options}".strip()
    more = [
        *([f"{node.max_in_flight} in flight"] if node.max_in_flight > 1 else []),
        *([f"executor {node.executor}"] if node.executor else []),
        *([f"source layer {node.source_layer}"] if node.source_layer else []),
    ]
    if node.inputs or more:
        yield f"{_INDENT}runs        {', '.join([policy, *more])}"
    for each in node.options:
        yield f"{_INDENT}options     {each}"
    if node.problem:
        yield f"{_INDENT}NOT LOADED  {' '.join(node.problem.split())}"


def _ports(what: str, ports: Sequence[Port]) -> Iterator[str]:
    width = max((len(port.label) for port in ports), default=0)
    for port in ports:
        parts = [f"{port.label:{width}}", port.payload]
        if port.tensor is not None:
            parts.append(f"{port.tensor.datatype} {list(port.tensor.shape)}")
        if port.is_back_edge:
            parts.append("back edge")
        yield f"{_INDENT}{what:10}  {'  '.join(parts)}".rstrip()

"""What is measured together: servers that hold one model each, since of the models in a
process OpenVINO gives the first the best threads, and the cases that they are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from tests.bench import cases, limits, peers, servers, undrawn, video, vision
from tests.bench.cases import Case
from tests.bench.fleet import Fleet
from tests.bench.measure import Row, rows_of
from tests.bench.models import DEMO, EFFICIENTNET, FRAME, NSFW, TINY, Model, lay_out
from tests.bench.servers import BATCHING, FEATURES, OURS, Server

Phase: TypeAlias = Callable[[Path, Fleet, bool], AbstractContextManager[list[Row]]]

_TOGETHER: Final = {
    "dynamic_batching": {"max_batch_size": 16, "max_queue_delay_microseconds": 1000}
}
_FEATURES: Final = ("--metrics_enable", "--rest_bind_address", "127.0.0.1")


@contextmanager
def _servers(
    model: Model, folder: Path, beside: Iterable[peers.Peer] = ()
) -> Iterator[list[Server]]:
    """Ours, and those beside it, with one model each."""
    config = lay_out(folder / model.name, [model])
    with ExitStack() as stack:
        found = [
            stack.enter_context(servers.ours(config, folder / f"{model.name}_log"))
        ]
        found += [stack.enter_context(peer(model, folder)) for peer in beside]
        yield found


def _asked(case: Case, known: list[Server], fleet: Fleet) -> Iterator[Row]:
    able = [
        each for each in known if not case.is_stream or each.name not in peers.UNARY
    ]
    yield from rows_of(case, able, fleet)


@contextmanager
def _with_canned(server: Server, case: Case, folder: Path) -> Iterator[list[Server]]:
    with servers.canned(server.ask(case), folder) as canned:
        yield [canned]


@contextmanager
def tiny(folder: Path, fleet: Fleet, with_peers: bool) -> Iterator[list[Row]]:
    """Where the server is nearly everything."""
    with ExitStack() as stack:
        known = stack.enter_context(
            _servers(TINY, folder, peers.PEERS if with_peers else ())
        )
        ours = known[0]
        config = folder / TINY.name / "config.json"
        features = (*_FEATURES, "--rest_port", str(servers.free_port()))
        extra: list[Server] = []
        if not with_peers:
            extra = [
                stack.enter_context(
                    servers.ours(
                        config, folder / "features_log", *features, name=FEATURES
                    )
                ),
                stack.enter_context(servers.bare_loop()),
            ]
        rows: list[Row] = []
        for case in (cases.TINY_1, cases.TINY_16, cases.TINY_STREAMS):
            canned = stack.enter_context(_with_canned(ours, case, folder))
            beside = [] if case.is_stream else extra
            rows += _asked(case, [*known, *beside, *canned], fleet)
        if not with_peers:
            for case in (cases.TINY_GRAPH_1, *cases.STREAMS, cases.OPEN_CLOSE):
                rows += _asked(case, [ours], fleet)
        yield rows


def _beside_openvino(case: Case, *, among_peers: bool) -> Phase:
    @contextmanager
    def phase(folder: Path, fleet: Fleet, with_peers: bool) -> Iterator[list[Row]]:
        if with_peers and not among_peers:
            yield []
            return
        beside = peers.PEERS if with_peers else ()
        with _servers(case.model, folder, beside) as known:
            yield [
                limits.benchmark_app(case, limits.BEFORE),
                *_asked(case, known, fleet),
                limits.benchmark_app(case, limits.AFTER),
            ]

    return phase


@contextmanager
def frames(folder: Path, fleet: Fleet, with_peers: bool) -> Iterator[list[Row]]:
    """Where bytes are nearly everything."""
    with ExitStack() as stack:
        known = stack.enter_context(
            _servers(FRAME, folder, [peers.triton] if with_peers else ())
        )
        rows: list[Row] = []
        for case in (cases.FRAME_UNARY, cases.FRAME_STREAM):
            canned = stack.enter_context(_with_canned(known[0], case, folder))
            rows += _asked(case, [*known, *canned], fleet)
        yield rows


@contextmanager
def demo(folder: Path, fleet: Fleet, with_peers: bool) -> Iterator[list[Row]]:
    """A video through a graph; there is no peer that runs graphs."""
    if with_peers:
        yield []
        return
    home = folder / DEMO
    config = lay_out(home, (), [DEMO])
    with (
        servers.ours(config, folder / f"{DEMO}_log") as server,
        video.rows(home, server) as rows,
    ):
        yield rows


@contextmanager
def seeing(folder: Path, fleet: Fleet, with_peers: bool) -> Iterator[list[Row]]:
    """Graphs for which people choose MediaPipe, beside MediaPipe: a server for each."""
    if with_peers:
        yield []
        return
    with ExitStack() as stack:
        rows: list[Row] = []
        for scene in vision.SCENES:
            home = folder / scene.graph
            config = lay_out(home, (), [scene.graph])
            undrawn.add(config, scene.graph)
            server = stack.enter_context(servers.ours(config, home / "log"))
            rows += stack.enter_context(vision.rows(scene, server, home))
        yield rows


@contextmanager
def batching(folder: Path, fleet: Fleet, with_peers: bool) -> Iterator[list[Row]]:
    """What it brings to infer together what is asked at the same time."""
    if with_peers:
        yield []
        return
    with ExitStack() as stack:
        rows: list[Row] = []
        for case in (cases.PERCEPTRON_16, cases.IMAGES_16):
            known: list[Server] = []
            for name, keys in ((OURS, {}), (BATCHING, _TOGETHER)):
                place = folder / f"batching_{case.model.name}_{len(known)}"
                config = lay_out(place, [case.model], **keys)
                server = servers.ours(config, place / "log", name=name)
                known.append(stack.enter_context(server))
            rows += _asked(case, known, fleet)
        yield rows


@contextmanager
def unary(folder: Path, fleet: Fleet, with_peers: bool) -> Iterator[list[Row]]:
    """Models of three kinds, from one caller to more than there are infer requests."""
    if with_peers:
        yield []
        return
    home = folder / "unary"
    home.mkdir()
    with ExitStack() as stack:
        servers_of = {
            model: stack.enter_context(_servers(model, home))
            for model in dict.fromkeys(case.model for case in cases.UNARY)
        }
        yield [
            row
            for case in cases.UNARY
            for row in (
                limits.benchmark_app(case, limits.BEFORE),
                *_asked(case, servers_of[case.model], fleet),
                limits.benchmark_app(case, limits.AFTER),
            )
        ]


PHASES: Final[Mapping[str, Phase]] = {
    "tiny": tiny,
    EFFICIENTNET.name: _beside_openvino(cases.EFFICIENTNET_8, among_peers=True),
    NSFW.name: _beside_openvino(cases.NSFW_8, among_peers=False),
    FRAME.name: frames,
    "unary": unary,
    "batching": batching,
    DEMO: demo,
    "vision": seeing,
}

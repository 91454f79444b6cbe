"""One server of real models in every format, each alone and in a graph."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tritonclient.grpc as triton
from ovms_mp_clients import Client

from graphs import repository
from tests.formats.cases import CASES
from tests.formats.routes import ROUTES, graph_of
from tests.formats.spellings import GRAPHS
from tests.wire import zoo
from tests.wire.servers import Server, serving


@pytest.fixture(scope="session")
def formats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Every route to every model, served."""
    folder = tmp_path_factory.mktemp("formats")
    for case in CASES:
        repository.add_model(folder, case.model)
    graphs = {**GRAPHS, **{route.graph: graph_of(route) for route in ROUTES}}
    for name, pbtxt in graphs.items():
        zoo.add_graph(folder, name, pbtxt)
    models = [zoo.entry(route.name, base_path=route.base_path) for route in ROUTES]
    entries = [{"name": name} for name in graphs]
    with serving(zoo.write_config(folder, models, entries)) as server:
        yield server


@pytest.fixture(scope="session")
def triton_client(formats: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(formats.address) as client:
        yield client


@pytest.fixture(scope="session")
def client(formats: Server) -> Iterator[Client]:
    with Client(formats.address) as client:
        yield client

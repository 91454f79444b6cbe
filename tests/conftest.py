"""What tests of several kinds need: one server of small models and graphs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from tests.wire import calculators, zoo
from tests.wire.servers import Server, serving
from tests.wire.waiting import until

AT_RANDOM = os.environ.get("OVMS_MP_TEST_AT_RANDOM") == "1"
"""`make nightly` looks for examples that nobody has seen; a change is judged by the same
ones each time, or it would fail for what another one has done.
"""

# A machine that is busy with something else makes no law untrue.
hypothesis.settings.register_profile(
    "patient", deadline=None, derandomize=not AT_RANDOM
)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session")
def zoo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Everything in `tests.wire.zoo`, served."""
    site = tmp_path_factory.mktemp("site")
    calculators.publish(site)
    config = zoo.build(tmp_path_factory.mktemp("zoo"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        with serving(config) as server:
            wanted = {*zoo.models(), *zoo.GRAPHS}
            assert set(server.app.catalog.names()) == wanted
            yield server


@pytest.fixture
def server(zoo_server: Server) -> Iterator[Server]:
    """The same, for one test, which has to leave it as it was."""
    yield zoo_server
    assert until(zoo_server.is_idle, within=5), "something is left in the server"
    assert zoo_server.app.catalog.is_servable_ready("echo", "")

"""What a handler counts is on the server's page, in whatever process it counts."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from ovms_mp.core.meters import MAX_SERIES
from tests.python_nodes.site import PROCESS, graph, served
from tests.wire.calls import ask, infer, refusal, text
from tests.wire.servers import Server, sample

HANDLER = """
from ovms_mp.calculator.metrics import Counter, Gauge, Histogram
from pyovms import Tensor

class OvmsPythonModel:
    def initialize(self, kwargs):
        self.words = Counter("words", "Words.", labels=("language",))
        self.last = Gauge("last_length", "Of the last word.")
        self.lengths = Histogram("lengths", "Of words.", buckets=(2, 4, float("inf")))
        Counter("lines", "In one,\\n\\\\ and another.")

    def execute(self, inputs):
        said = str(bytes(inputs[0]), "utf-8", "surrogateescape")
        language, _, word = said.partition(" ")
        if language == "nonsense":
            self.words.inc(-1, language="en")
        if language == "unlabelled":
            self.words.inc()
        self.words.inc(language=language)
        self.last.set(len(word))
        self.lengths.observe(len(word))
        return [Tensor("out", b"")]
"""
CLASH = """
from ovms_mp.calculator.metrics import Gauge

class OvmsPythonModel:
    def initialize(self, kwargs):
        Gauge("words", "Not the same.")
    def execute(self, inputs):
        return []
"""
GRAPHS = {
    "inside": (graph(), HANDLER),
    "outside": (graph(options=PROCESS), HANDLER),
    "z_clash": (graph(), CLASH),
    "z_clash_outside": (graph(options=PROCESS), CLASH),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("metrics"), GRAPHS) as server:
        yield server
        server.app.catalog.close()
        assert "ovms_mp_node_words{" not in server.app.metrics.render().decode()


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with server.connect() as channel:
        yield channel


def said(name: str, words: str):
    return ask(name, {"in": text(words)})


@pytest.mark.parametrize("name", ["inside", "outside"])
def test_what_a_handler_counts_is_on_the_page(
    server: Server, channel: grpc.Channel, name: str
) -> None:
    for words in ("en one", "en three", "de zwei"):
        infer(channel, said(name, words))
    page = server.app.metrics.render().decode()
    node = {"graph": name, "node": "worker"}
    words = "ovms_mp_node_words"
    assert "# HELP ovms_mp_node_words Words.\n# TYPE ovms_mp_node_words counter" in page
    assert sample(page, words, {**node, "language": "en"}) == 2
    assert sample(page, words, {**node, "language": "de"}) == 1
    assert sample(page, "ovms_mp_node_last_length", node) == 4
    buckets = "ovms_mp_node_lengths_bucket"
    assert sample(page, buckets, {**node, "le": "4"}) == 2
    assert sample(page, buckets, {**node, "le": "+Inf"}) == 3


@pytest.mark.parametrize("name", ["inside", "outside"])
def test_what_cannot_be_counted_fails_the_call(
    channel: grpc.Channel, name: str
) -> None:
    _, why = refusal(channel, said(name, "nonsense x"))
    assert why.endswith("ValueError: -1 is no number for a counter")
    _, why = refusal(channel, said(name, "unlabelled x"))
    assert why.endswith("ValueError: expected the labels language, found none")


@pytest.mark.parametrize("name", ["inside", "outside"])
def test_no_bytes_of_a_client_make_the_page_unreadable(
    server: Server, channel: grpc.Channel, name: str
) -> None:
    for byte in (b"\xff", b"\xfe"):
        sent = np.frombuffer(b"half" + byte + b" word", np.uint8)
        infer(channel, ask(name, {"in": sent}))
    page = server.app.metrics.render().decode()
    labels = {"graph": name, "node": "worker", "language": "half?"}
    assert sample(page, "ovms_mp_node_words", labels) == 2


def test_a_help_of_several_lines_is_one(server: Server) -> None:
    page = server.app.metrics.render().decode()
    shown = r"# HELP ovms_mp_node_lines In one,\n\\ and another."
    assert shown in page.splitlines()


@pytest.mark.parametrize("name", ["inside", "outside"])
def test_there_is_an_end_to_the_number_of_labels(
    server: Server, channel: grpc.Channel, name: str
) -> None:
    """Whoever labels with what clients send does not fill the memory."""
    for number in range(MAX_SERIES + 20):
        infer(channel, said(name, f"{number} x"))
    page = server.app.metrics.render().decode()
    shown = page.count(f'ovms_mp_node_words{{graph="{name}"')
    assert shown == MAX_SERIES
    assert server.said(f"graph {name}", 'no more labels of "words" are counted')


def test_a_name_that_is_something_else_already_is_refused_at_load(
    server: Server,
) -> None:
    text = 'ValueError: the metric "words" is something else already'
    assert server.said("graph z_clash:", text)
    assert server.said("graph z_clash_outside:", "is something else already")

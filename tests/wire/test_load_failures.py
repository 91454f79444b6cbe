"""What cannot be loaded is not served, its neighbours are, and the log says why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from ovms_mp_protos import kserve

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import Status, Stream, ask, floats, infer, refusal, status_of
from tests.wire.servers import Server, serving

HANDLERS: Final = {
    "without_class": "VALUE = 1\n",
    "without_execute": "class OvmsPythonModel:\n    pass\n",
    "with_syntax_error": "class OvmsPythonModel:\n    def execute(self, inputs)\n",
    "with_missing_import": "import no_such_module_anywhere\n",
    "with_bad_initialize": (
        "class OvmsPythonModel:\n"
        "    def initialize(self, kwargs):\n"
        "        raise ValueError('no licence for this')\n\n"
        "    def execute(self, inputs):\n"
        "        return []\n"
    ),
    "with_bad_constructor": (
        "class OvmsPythonModel:\n"
        "    def __init__(self):\n"
        "        self.missing_method()\n\n"
        "    def execute(self, inputs):\n"
        "        return []\n"
    ),
    "with_exit": "import sys\nsys.exit(3)\n",
}
# What the log says of each, after `graph NAME: `.
STATE: Final = "The Python Node state initialization failed"
WHY: Final[dict[str, tuple[str, ...]]] = {
    "without_class": (STATE, "without_class.py", "OvmsPythonModel is missing"),
    "without_execute": (STATE, "without_execute.py", "no method execute"),
    "with_syntax_error": (STATE, "with_syntax_error.py:2", "SyntaxError"),
    "with_missing_import": (
        STATE,
        "with_missing_import.py:1",
        "ModuleNotFoundError",
        "no_such_module_anywhere",
    ),
    "with_bad_initialize": (
        STATE,
        "with_bad_initialize.py:3",
        "ValueError: no licence for this",
    ),
    "with_bad_constructor": (STATE, "with_bad_constructor.py:3", "AttributeError"),
    "with_exit": (STATE, "with_exit.py:2", "SystemExit: 3"),
    "without_file": (
        "The Python Node file path does not exist",
        "graph.pbtxt:3",
        "without_file.py",
    ),
    "without_graph": ("File not found or cannot open", "graph.pbtxt"),
    "of_nonsense": (
        "Failed to read protobuf graph configuration file",
        "graph.pbtxt:2",
    ),
    "of_unknown_calculator": (
        "Failed to initialize mediapipe graph",
        "graph.pbtxt:3",
        '"NoSuchCalculator"',
    ),
    "of_unknown_model": (
        "Failed to initialize mediapipe graph",
        '"nothing"',
        "Model with requested name is not found",
    ),
    "of_broken_model": ("Failed to initialize mediapipe graph", '"broken"'),
    "of_cycle": ("Failed to initialize mediapipe graph", "cycle", "graph.pbtxt:"),
    "without_output": ("Internal server error", "at least one output stream"),
    "with_tflite_tensor": ("Functionality not implemented", "TFLITE_TENSOR"),
    "with_request_only": (
        "Mediapipe KFS pass through graph is missing RESPONSE output tag",
        "graph.pbtxt:1",
    ),
    "with_input_twice": (
        "Mediapipe unexpected input stream packet name",
        "graph.pbtxt:2",
    ),
}
GRAPHS: Final = {
    "of_nonsense": 'input_stream: "in"\nnode { calculator "PassThroughCalculator" }\n',
    "of_unknown_calculator": zoo.graph(
        ["in"],
        ["out"],
        zoo.node("NoSuchCalculator", 'input_stream: "in"', 'output_stream: "out"'),
    ),
    "of_unknown_model": zoo.graph(
        ["in"],
        ["out"],
        zoo.session("nothing"),
        zoo.inferring({"x": "in"}, {"y": "out"}),
    ),
    "of_broken_model": zoo.graph(
        ["in"],
        ["out"],
        zoo.session("broken"),
        zoo.inferring({"x": "in"}, {"y": "out"}),
    ),
    "of_cycle": zoo.graph(["in"], ["a"], zoo.passing("b a"), zoo.passing("a b")),
    "without_output": zoo.graph(["in"], [], zoo.passing("in out")),
    "with_tflite_tensor": zoo.graph(
        ["TFLITE_TENSOR:in"], ["out"], zoo.passing("in out")
    ),
    "with_request_only": zoo.graph(["REQUEST:in"], ["out"], zoo.passing("in out")),
    "with_input_twice": zoo.graph(["A:in", "B:in"], ["out"], zoo.passing("in out")),
}
FIVE: Final = floats(1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Everything that is wrong, in one repository with two graphs and a model that are
    not.
    """
    folder = tmp_path_factory.mktemp("broken")
    for name, source in HANDLERS.items():
        zoo.add_graph(folder, name, zoo.words(f"{name}.py"), **{name: source})
    zoo.add_graph(folder, "without_file", zoo.words("without_file.py"))
    (folder / "without_graph").mkdir()
    for name, pbtxt in GRAPHS.items():
        zoo.add_graph(folder, name, pbtxt)
    zoo.add_model(folder, "good", tiny.add_one((1, 5)))
    wrong = folder / "broken" / "1"
    wrong.mkdir(parents=True)
    (wrong / "model.xml").write_text("<net>")
    (wrong / "model.bin").write_bytes(b"")
    zoo.add_graph(folder, "first", zoo.ECHO)
    zoo.add_graph(folder, "last", zoo.ECHO)
    names = ["first", *WHY, "last"]
    models = [zoo.entry("broken"), zoo.entry("good"), zoo.entry("absent")]
    config = zoo.write_config(folder, models, [{"name": name} for name in names])
    # A model that crashes its reader is to be as harmless as any other.
    with serving(config, probe_models=True) as server:
        yield server


@pytest.fixture(scope="module")
def connection(broken: Server) -> Iterator[grpc.Channel]:
    with broken.connect() as channel:
        yield channel


@pytest.mark.parametrize("name", WHY)
def test_the_log_says_in_a_line_why_a_graph_is_not_served(
    broken: Server, name: str
) -> None:
    lines = [each for each in broken.log if each.startswith(f"graph {name}: ")]
    assert len(lines) == 1
    for words in WHY[name]:
        assert words in lines[0].splitlines()[0]


@pytest.mark.parametrize("name", WHY)
def test_a_graph_that_could_not_be_loaded_is_not_ready_and_refuses(
    connection: grpc.Channel, name: str
) -> None:
    not_ready = ("UNAVAILABLE", "Mediapipe is not loaded yet")
    ready: Any = connection.unary_unary(
        kserve.MODEL_READY,
        kserve.ModelReadyRequest.SerializeToString,
        kserve.ModelReadyResponse.FromString,
    )
    assert not ready(kserve.ModelReadyRequest(name=name)).ready
    assert refusal(connection, ask(name, {"in": FIVE})) == not_ready
    with Stream(connection, ask(name, {"in": FIVE})) as stream:
        assert stream.end() == not_ready
    metadata: Any = connection.unary_unary(kserve.MODEL_METADATA)
    request = kserve.ModelMetadataRequest(name=name).SerializeToString()
    assert status_of(lambda: metadata(request)) == not_ready


@pytest.mark.parametrize(
    ("name", "status", "why"),
    [
        (
            "broken",
            ("UNAVAILABLE", "Model with requested version is not loaded yet"),
            "Error while loading a model - model.xml: ",
        ),
        (
            "absent",
            ("NOT_FOUND", "Model with requested version is not found"),
            "The provided base path is invalid or doesn't exists - ",
        ),
    ],
)
def test_a_model_that_could_not_be_loaded_refuses(
    broken: Server, connection: grpc.Channel, name: str, status: Status, why: str
) -> None:
    assert refusal(connection, ask(name, {"x": FIVE})) == status
    assert broken.said(f"model {name}", why)


def test_health_tells_which_servables_are_not_served(connection: grpc.Channel) -> None:
    listed: Any = connection.unary_unary(
        kserve.HEALTH_LIST, None, kserve.HealthListResponse.FromString
    )
    found = {name: each.status for name, each in listed(b"").statuses.items()}
    serving = kserve.HealthCheckResponse.SERVING
    not_serving = kserve.HealthCheckResponse.NOT_SERVING
    assert {name for name, status in found.items() if status == serving} == {
        "good",
        "first",
        "last",
    }
    assert {name for name, status in found.items() if status == not_serving} >= {*WHY}


@pytest.mark.parametrize("name", ["first", "last"])
def test_graphs_beside_the_broken_ones_are_served(
    connection: grpc.Channel, name: str
) -> None:
    assert infer(connection, ask(name, {"in": FIVE})).model_name == name


def test_a_model_beside_the_broken_ones_is_served(connection: grpc.Channel) -> None:
    assert infer(connection, ask("good", {"x": FIVE})).model_version == "1"


def test_the_server_is_not_ready_while_some_of_it_is_not(
    connection: grpc.Channel,
) -> None:
    ready: Any = connection.unary_unary(
        kserve.SERVER_READY, None, kserve.ServerReadyResponse.FromString
    )
    assert not ready(b"").ready


def test_no_line_of_a_refusal_names_a_folder(broken: Server, tmp_path: Path) -> None:
    top = str(tmp_path.parent.parent)
    lines = [each.splitlines()[0] for each in broken.log if each.startswith("graph ")]
    assert not [each for each in lines if top in each]

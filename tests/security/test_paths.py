"""Names are no paths, and with `--config_root` no path of a config leads elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from ovms_mp_protos import kserve

from ovms_mp.core.errors import ServingError
from ovms_mp.settings import SecuritySettings
from tests.unit.inference import tiny
from tests.wire import rest, zoo
from tests.wire.calls import Stream, ask, floats, refusal, status_of
from tests.wire.servers import Server, serving

FIVE: Final = floats(1, 2, 3, 4, 5)
MARK: Final = "lure"
NAMES: Final = (
    f"../{MARK}",
    f"../../../../../../{MARK}",
    f"/etc/{MARK}",
    f"..%2f{MARK}",
    f"..\\{MARK}",
    f"echo/../{MARK}",
    f"{MARK}\0.pbtxt",
    f"\uff0e\uff0e/{MARK}",
    f".\u200b./{MARK}",
    f"..\u2215{MARK}",
    f"file:///{MARK}",
    f"s3://{MARK}/model",
    f"~/{MARK}",
    f"${{HOME}}/{MARK}",
    f"{MARK}\n",
)

_opened: list[str] = []
_WATCHED: Final = {"open", "os.listdir", "os.scandir", "os.rename", "os.remove"}


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _WATCHED and arguments:
        _opened.append(str(arguments[0]))


# A hook stays for the life of the process; it costs next to nothing.
sys.addaudithook(_watch)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("names")
    zoo.add_model(folder, "add_one", tiny.add_one((1, 5)))
    zoo.add_graph(folder, "echo", zoo.ECHO)
    config = zoo.write_config(folder, [zoo.entry("add_one")], [{"name": "echo"}])
    with serving(config) as server:
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_no_name_reaches_the_file_system(server: Server, name: str) -> None:
    _opened.clear()
    Path(__file__).read_bytes()
    with server.connect() as channel:
        for request in (
            ask(name, {"x": FIVE}),
            ask("add_one", {name: FIVE}),
            ask("echo", {name: FIVE}),
            ask("echo", {"in": FIVE}, parameters={name: name}, id=name),
            ask("add_one", {"x": FIVE}, model_version=name),
        ):
            refusal(channel, request)
            with Stream(channel, request) as stream:
                stream.half_close()
                status_of(stream.next)
        message = kserve.ModelMetadataRequest(name=name).SerializeToString()
        for path in (kserve.MODEL_METADATA, kserve.MODEL_READY, kserve.MODEL_CONFIG):
            method: Any = channel.unary_unary(path)
            code, said = status_of(lambda m=method: m(message))
            assert code == "NOT_FOUND", (path, code)
            assert "\n" not in said
    spelled = quote(name, safe="")
    client = rest.Rest(server.app.rest_port)
    for method, path in (
        ("GET", f"/v2/models/{spelled}"),
        ("GET", f"/v2/models/{spelled}/ready"),
        ("GET", f"/v1/models/{spelled}"),
        ("GET", f"/v2/models/add_one/versions/{spelled}"),
        ("POST", f"/v2/models/{spelled}/infer"),
        ("GET", f"/{spelled}"),
    ):
        assert client.ask(method, path, b"{}").code in (400, 404)
    assert __file__ in _opened  # or nobody has watched
    assert not [path for path in _opened if MARK in path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a good model, a good graph, and what each escape is made of."""
    root = tmp_path / "root"
    outside = tmp_path / "outside"
    for folder in (root, outside):
        folder.mkdir()
        zoo.add_model(folder, "add_one", tiny.add_one((1, 5)))
        zoo.add_graph(folder, "echo", zoo.ECHO)
    zoo.add_graph(root, "words", zoo.words(), speaker=zoo.HANDLER)
    (outside / "speaker.py").write_text(zoo.HANDLER)
    (outside / "subconfig.json").write_text('{"model_config_list": []}')
    return root


def escapes(root: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Models and graphs, none of which may be served."""
    outside = root.parent / "outside"
    (root / "linked").symlink_to(outside / "add_one")
    zoo.add_model(root, "inner_link", tiny.add_one((1, 5)))
    weights = root / "inner_link" / "1" / "model.bin"
    found = next((root / "inner_link" / "1").glob("*.bin"), weights)
    found.unlink()
    found.symlink_to(next((outside / "add_one" / "1").glob("*.bin")))
    (root / "linked_graph").symlink_to(outside / "echo")
    zoo.add_graph(root, "far_handler", zoo.words(str(outside / "speaker.py")))
    zoo.add_graph(root, "up_handler", zoo.words("../../outside/speaker.py"))
    zoo.add_graph(root, "linked_handler", zoo.words())
    (root / "linked_handler" / "speaker.py").symlink_to(outside / "speaker.py")
    models = [
        zoo.entry("absolute", base_path=str(outside / "add_one")),
        zoo.entry("dots", base_path="../outside/add_one"),
        zoo.entry("inner_dots", base_path="add_one/../../outside/add_one"),
        zoo.entry("linked"),
        zoo.entry("inner_link"),
    ]
    graphs = [
        {"name": "absolute_graph", "base_path": str(outside / "echo")},
        {
            "name": "far_pbtxt",
            "base_path": "echo",
            "graph_path": f"{outside}/echo/graph.pbtxt",
        },
        {
            "name": "up_pbtxt",
            "base_path": "echo",
            "graph_path": "../../outside/echo/graph.pbtxt",
        },
        {
            "name": "far_subconfig",
            "base_path": "echo",
            "subconfig": f"{outside}/subconfig.json",
        },
        {"name": "linked_graph"},
        {"name": "far_handler"},
        {"name": "up_handler"},
        {"name": "linked_handler"},
    ]
    return models, graphs


def served(config: Path, root: Path | None) -> tuple[set[str], Server]:
    with serving(config, security=SecuritySettings(config_root=root)) as server:
        return set(server.app.catalog.available()), server


def test_with_a_config_root_nothing_lies_elsewhere(root: Path) -> None:
    models, graphs = escapes(root)
    good = [zoo.entry("add_one")], [{"name": "echo"}, {"name": "words"}]
    config = zoo.write_config(root, good[0] + models, good[1] + graphs)
    found, server = served(config, root)
    assert found == {"add_one", "echo", "words"}
    for entry in (*[each["config"] for each in models], *graphs):
        assert server.said(entry["name"], "leads out of", "--config_root"), entry


def test_without_one_paths_lead_anywhere_as_in_ovms(root: Path) -> None:
    models, graphs = escapes(root)
    config = zoo.write_config(root, models, graphs)
    found, _ = served(config, None)
    names = {entry["name"] for entry in (*[each["config"] for each in models], *graphs)}
    assert found == names


def test_a_root_that_is_a_link_is_the_folder_behind_it(root: Path) -> None:
    config = zoo.write_config(root, [zoo.entry("add_one")], [{"name": "echo"}])
    link = root.parent / "link"
    link.symlink_to(root)
    for base in (root, link):
        found, _ = served(base / config.name, link)
        assert found == {"add_one", "echo"}


def test_a_config_that_lies_elsewhere_is_no_start(root: Path) -> None:
    config = zoo.write_config(root.parent / "outside", [], [{"name": "echo"}])
    with pytest.raises(ServingError, match="leads out of"):
        served(config, root)


@pytest.mark.parametrize("key", ["name", "base_path", "graph_path", "subconfig"])
@pytest.mark.parametrize("text", ["x" * 5000, "\u202e", "a\nb", "\x1b[2J"])
def test_what_can_be_no_path_is_a_problem_of_its_entry_alone(
    root: Path, key: str, text: str
) -> None:
    entry = {"name": "odd", "base_path": "echo", key: text}
    document = {
        "model_config_list": [],
        "mediapipe_config_list": [entry, {"name": "echo"}],
    }
    config = root / "config.json"
    config.write_text(json.dumps(document))
    for confined in (None, root):
        found, server = served(config, confined)
        assert "echo" in found
        assert not server.said("Traceback")


@pytest.mark.parametrize("key", ["name", "base_path", "graph_path", "subconfig"])
@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_what_no_system_takes_for_a_path_is_no_config(
    root: Path, key: str, text: str
) -> None:
    entry = {"name": "odd", "base_path": "echo", key: text}
    config = root / "config.json"
    document = {"model_config_list": [], "mediapipe_config_list": [entry]}
    config.write_text(json.dumps(document))
    with pytest.raises(ServingError, match="NUL or a lone surrogate in a string"):
        served(config, None)

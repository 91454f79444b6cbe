"""What REST tells because flags or the files of models say so."""

from __future__ import annotations

from pathlib import Path

from ovms_mp.settings import RestSettings
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.rest import Rest
from tests.wire.servers import serving


def test_browsers_are_told_what_flags_say(tmp_path: Path) -> None:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    config = zoo.write_config(tmp_path, [], [{"name": "echo"}])
    told = RestSettings(
        allowed_origins="https://a.example",
        allowed_methods="POST, OPTIONS",
        allowed_headers="x-a",
        allow_credentials=True,
    )
    with serving(config, rest=told) as server:
        rest = Rest(server.app.rest_port)
        for answer in (
            rest.get("/v2"),
            rest.get("/nowhere"),
            rest.ask("OPTIONS", "/v2/models/echo/infer"),
        ):
            found = {
                name.removeprefix("access-control-allow-"): value
                for name, value in answer.headers.items()
                if name.startswith("access-control-allow-")
            }
            assert found == {
                "origin": "https://a.example",
                "methods": "POST, OPTIONS",
                "headers": "x-a",
                "credentials": "true",
            }


def test_what_a_models_file_says_of_it_is_in_its_metadata(tmp_path: Path) -> None:
    """As OVMS has it: texts, by names that may be nested."""
    made = tiny.add_one((1, 10))
    made.set_rt_info("cat dog", ["model_info", "labels"])
    made.set_rt_info(640, ["model_info", "sizes", "width"])
    made.set_rt_info("not for clients", ["other"])
    zoo.add_model(tmp_path, "labelled", made)
    zoo.add_model(tmp_path, "auto", made)
    zoo.add_model(tmp_path, "silent", tiny.add_one((1, 10)))
    entries = [
        zoo.entry("labelled"),
        zoo.entry("auto", shape="auto"),
        zoo.entry("silent"),
    ]
    with serving(zoo.write_config(tmp_path, entries, [])) as server:
        rest = Rest(server.app.rest_port)
        for name in ("labelled", "labelled/versions/1", "auto"):
            assert rest.get(f"/v2/models/{name}").json["rt_info"] == {
                "model_info": {"labels": "cat dog", "sizes": {"width": "640"}}
            }
        assert "rt_info" not in rest.get("/v2/models/silent").json

"""REST of several workers is that of one server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.rest import Rest, inputs, tensor
from tests.workers.servers import Workers

pytestmark = pytest.mark.timeout(240)

FIVE = np.arange(5, dtype=np.float32).reshape(1, 5)
RELOAD = "/v1/config/reload"
ENOUGH = 30
"""Connections, of which hardly ever all go to one worker."""


def rest_of(server: Workers) -> Rest:
    return Rest(server.rest_port())


def test_each_worker_answers(standing: Workers) -> None:
    rest = rest_of(standing)
    word = {"name": "word", "shape": [2], "datatype": "UINT8", "data": [*b"hi"]}
    who = {bytes(rest.infer("who", inputs(word)).output("said")) for _ in range(ENOUGH)}
    assert len(who) == 2
    for _ in range(ENOUGH):
        answer = rest.infer("add_one", inputs(tensor("x", FIVE)))
        assert answer.output("y") == (FIVE + 1).ravel().tolist()
        assert rest.get("/v2/health/ready").code == 200


def test_a_reload_is_answered_when_all_workers_serve(
    config: Path, tmp_path: Path
) -> None:
    flags = ("--rest_port", "auto", "--file_system_poll_wait_seconds", "0")
    with Workers(tmp_path, "--config_path", str(config), *flags) as server:
        server.ready()
        rest = rest_of(server)
        assert rest.ask("POST", RELOAD).code == 200
        zoo.add_model(config.parent, "more", tiny.add_one((1, 5)))
        entries = [zoo.entry("add_one"), zoo.entry("more")]
        zoo.write_config(config.parent, entries, [{"name": "who"}])
        answer = rest.ask("POST", RELOAD)
        assert answer.code == 201
        for _ in range(ENOUGH):
            assert rest.infer("more", inputs(tensor("x", FIVE))).code == 200
        config.write_text("{")
        answer = rest.ask("POST", RELOAD)
        assert (answer.code, answer.error) == (
            412,
            "Reloading config file failed. Check server logs for more info.",
        )
        assert rest.infer("more", inputs(tensor("x", FIVE))).code == 200

"""Whatever a client asks, what he reads is one line that tells nothing of the host: no
path, no traceback, no key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

import hypothesis
import hypothesis.strategies as st
import pytest
from ovms_mp_protos import kserve

from ovms_mp.settings import SecuritySettings
from tests.unit.inference import tiny
from tests.wire import rest, zoo
from tests.wire.calls import ask, floats, infer, status_of, text
from tests.wire.servers import Server, serving

KEY: Final = "the-key-of-all-0123456789"
HEADERS: Final = {"authorization": f"Bearer {KEY}"}
BEARER: Final = tuple(HEADERS.items())
FIVE: Final = floats(1, 2, 3, 4, 5)
# A client's own words come back to him: none of these can look like a path of the host.
WORDS: Final = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\"), max_size=40
) | st.sampled_from(["add_one", "echo", "fails", "x", "in", "out", "", "FP32", "BYTES"])
# A folder of the host's. Names of files may be told: what is wrong has to have a name.
PATH: Final = re.compile(r"(?<!\w)/(?:[\w.-]+/)+")
LEAKS: Final = ("Traceback", "site-packages", KEY, KEY[:-1])

HANDLER: Final = """
    import os
    import subprocess

    class OvmsPythonModel:
        def execute(self, inputs):
            word = bytes(inputs[0]).decode()
            if word == "missing":
                open(os.path.join(os.path.dirname(__file__), "a folder", "weights.bin"))
            if word == "lines":
                raise ValueError("one\\ntwo\\r\\x1b[31m\\u2028three\\x00")
            if word == "path":
                raise RuntimeError(f"cannot read {__file__}: see /var/log/secret/it.log")
            if word == "quoted":
                raise OSError(f"no '/opt/models/secret/a.bin' and no file:///etc/passwd.d/x")
            if word == "chain":
                try:
                    {}["/srv/data/x"]
                except KeyError as error:
                    raise RuntimeError("outer") from error
            if word == "long":
                raise ValueError(("/usr/lib/python3/" + "x" * 50 + " ") * 5000)
            if word == "child":
                subprocess.run(["/nonexistent/dir/program"])
            return None
"""


class Asked:
    """A server with keys, and what its clients have read of refusals."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.rest = rest.Rest(server.app.rest_port)
        self.channel = server.connect()

    def read(self, said: str, folder: Path) -> None:
        """What a client has read is fit for him."""
        assert not re.search(r"[\x00-\x1f\x7f\u2028\u2029]", said), repr(said)
        assert len(said) <= 4096
        assert not PATH.search(said), said
        for leak in (*LEAKS, str(folder)):
            assert leak not in said, said

    def over_rest(self, method: str, path: str, body: bytes = b"") -> str:
        answer = self.rest.ask(method, path, body, HEADERS)
        return "" if answer.code < 400 else answer.error


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(scope="module")
def asked(folder: Path) -> Iterator[Asked]:
    zoo.add_model(folder, "add_one", tiny.add_one((1, 5)))
    zoo.add_graph(folder, "echo", zoo.ECHO)
    for name in ("fails", "fails_aside"):
        handler = dedent(HANDLER)
        zoo.add_graph(folder, name, zoo.words(), speaker=handler)
    broken = folder / "broken" / "1"
    broken.mkdir(parents=True)
    (broken / "model.xml").write_text("<net>")
    (broken / "model.bin").write_bytes(b"")
    zoo.add_graph(folder, "no_handler", zoo.words("/etc/nowhere/speaker.py"))
    models = [zoo.entry("add_one"), zoo.entry("broken")]
    graphs = [{"name": n} for n in ("echo", "fails", "fails_aside", "no_handler")]
    (folder / "keys").write_text(KEY)
    security = SecuritySettings(folder / "keys")
    config = zoo.write_config(folder, models, graphs)
    with serving(config, security=security) as server:
        found = Asked(server)
        with found.channel:
            yield found


@hypothesis.settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
@hypothesis.given(st.data())
def test_no_request_is_answered_with_more_than_a_line(
    asked: Asked, folder: Path, data: st.DataObject
) -> None:
    message = kserve.ModelInferRequest(
        model_name=data.draw(WORDS),
        model_version=data.draw(st.sampled_from(["", "1", "x", "-1"])),
        id=data.draw(WORDS),
    )
    for _ in range(data.draw(st.integers(0, 2))):
        tensor = message.inputs.add(
            name=data.draw(WORDS),
            datatype=data.draw(WORDS),
            shape=data.draw(st.lists(st.integers(-2, 2**40), max_size=3)),
        )
        if data.draw(st.booleans()):
            tensor.contents.fp32_contents.extend([1.0] * data.draw(st.integers(0, 6)))
        else:
            message.raw_input_contents.append(data.draw(st.binary(max_size=24)))
        tensor.parameters[data.draw(WORDS)].string_param = data.draw(WORDS)
    message.parameters[data.draw(WORDS)].string_param = data.draw(WORDS)
    wire = message.SerializeToString()
    if data.draw(st.booleans()):
        cut = data.draw(st.integers(0, len(wire)))
        wire = wire[:cut] + data.draw(st.binary(max_size=4)) + wire[cut:]
    said = status_of(lambda: infer(asked.channel, wire, metadata=BEARER))[1]
    asked.read(said, folder)
    document: dict[str, Any] = {
        "id": message.id,
        "inputs": [
            {
                "name": each.name,
                "shape": [*each.shape],
                "datatype": each.datatype,
                "data": data.draw(st.lists(st.integers() | WORDS, max_size=3)),
            }
            for each in message.inputs
        ],
        "parameters": {data.draw(WORDS): data.draw(WORDS | st.integers())},
    }
    for path in ("add_one", "fails"):
        body = json.dumps(document).encode()
        asked.read(asked.over_rest("POST", f"/v2/models/{path}/infer", body), folder)


@pytest.mark.parametrize(
    "word", ["missing", "lines", "path", "quoted", "chain", "long", "child"]
)
def test_what_a_handler_fails_with_is_a_line_without_paths(
    asked: Asked, folder: Path, word: str
) -> None:
    request = ask("fails", {"word": text(word)})
    code, said = status_of(lambda: infer(asked.channel, request, metadata=BEARER))
    assert code == "INVALID_ARGUMENT"  # OVMS's, for a graph that fails
    assert said
    asked.read(said, folder)
    method: Any = asked.channel.stream_stream(kserve.MODEL_STREAM_INFER)
    messages = iter([request.SerializeToString()])
    asked.read(status_of(lambda: [*method(messages, metadata=BEARER)])[1], folder)
    tensor = rest.tensor("word", text(word), "UINT8")
    body = json.dumps(rest.inputs(tensor)).encode()
    said = asked.over_rest("POST", "/v2/models/fails/infer", body)
    assert said
    asked.read(said, folder)


@pytest.mark.parametrize("name", ["broken", "no_handler"])
def test_what_could_not_be_loaded_is_told_without_paths(
    asked: Asked, folder: Path, name: str
) -> None:
    """To clients; `/v1/config` has reasons for operators, without paths as well."""
    for request in (ask(name, {"x": FIVE}), ask(name, {})):
        said = status_of(lambda r=request: infer(asked.channel, r, metadata=BEARER))
        assert said[0] in ("UNAVAILABLE", "NOT_FOUND")
        asked.read(said[1], folder)
    said = asked.over_rest("GET", f"/v2/models/{name}")
    assert said
    asked.read(said, folder)
    states = asked.rest.ask("GET", "/v1/config", headers=HEADERS).json
    assert str(folder) not in json.dumps(states)
    for each in states[name]["model_version_status"]:
        if "reason" in each:
            asked.read(each["reason"], folder)


def test_the_law_would_find_out() -> None:
    """The negative control."""
    for said in (
        "cannot read /srv/models/1/model.xml",
        "at '/opt/models/x'",
        "no file:///etc/secrets/x",
    ):
        assert PATH.search(said), said

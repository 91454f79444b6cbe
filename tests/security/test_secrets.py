"""A server's keys are for the server: no process for user code has them, no log and no
page shows them, and who has none learns no name of what is served.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from ovms_mp_protos import kserve

from ovms_mp.core.secrets import SECRETS
from tests.python_nodes import site
from tests.unit.inference import tiny
from tests.wire import rest, zoo
from tests.wire.calls import ask, connect, floats, infer, status_of, text
from tests.wire.servers import Process
from tests.wire.waiting import until

KEY: Final = "the-key-of-clients-0123456789"
ADMIN: Final = "the-key-of-admins-9876543210"
OTHER: Final = "what-opens-the-storage-42"
BEARER: Final = (("authorization", f"Bearer {KEY}"),)
HIDDEN: Final = "inner_part"


class Site:
    """A server with keys in its environment, and two nodes in processes of their own."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.address = process.ready()
        found = re.search(r"REST server listening on [^ ]*:(\d+)", process.log)
        assert found is not None
        self.rest = rest.Rest(int(found[1]))

    def children(self) -> list[int]:
        """All that it has started, and what they have."""
        parents: dict[int, int] = {}
        for each in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = each.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(each.parent.name)] = int(fields[1])
        found = {self.process.process.pid}
        for _ in range(5):
            found |= {pid for pid, parent in parents.items() if parent in found}
        return sorted(found - {self.process.process.pid})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("secrets")
    zoo.add_model(folder, "add_one", tiny.add_one((1, 5)))
    zoo.add_graph(
        folder, "aside", site.graph(options=site.PROCESS), handler=zoo.HANDLER
    )
    (folder / "aside" / f"{HIDDEN}.pbtxt").write_text(
        zoo.ECHO + f'\ntype: "{HIDDEN}"\n'
    )
    zoo.add_graph(folder, "not_configured", zoo.ECHO)
    config = zoo.write_config(folder, [zoo.entry("add_one")], [{"name": "aside"}])
    (folder / "admins").write_text(ADMIN)
    with pytest.MonkeyPatch.context() as patch:
        for name in SECRETS:
            patch.setenv(name, OTHER)
        patch.setenv("API_KEY", KEY)
        flags = ("--config_path", str(config), "--rest_port", "auto")
        flags += ("--metrics_enable", "--access_log", "--log_level", "DEBUG")
        flags += ("--admin_api_key_file", str(folder / "admins"))
        with Process(folder, *flags) as process:
            yield Site(process)


def test_no_process_for_user_code_has_a_secret(served: Site) -> None:
    """The server's own environment has them, so it is seen that one looks rightly."""
    own = Path(f"/proc/{served.process.process.pid}/environ").read_bytes()
    assert KEY.encode() in own and OTHER.encode() in own
    with connect(served.address) as channel:
        infer(channel, ask("aside", {"in": text("hello")}), metadata=BEARER)
    children = served.children()
    assert children
    for pid in children:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"PATH=" in environ
        for secret in (KEY, ADMIN, OTHER):
            assert secret.encode() not in environ
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert KEY.encode() not in command


def test_no_log_and_no_page_shows_a_secret(served: Site) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    admin = {"authorization": f"Bearer {ADMIN}"}
    pages = [
        served.rest.ask("GET", path, headers=headers).body.decode()
        for path in ("/metrics", "/v1/config", "/openapi.json", "/v2", "/nowhere")
    ]
    pages.append(served.rest.ask("POST", "/v1/config/reload", b"", admin).body.decode())
    wrong = {"authorization": f"Bearer {KEY}x"}
    pages.append(served.rest.ask("GET", "/v1/config", headers=wrong).body.decode())
    with connect(served.address) as channel:
        bad = ask("add_one", {"no": floats(1)})
        pages.append(status_of(lambda: infer(channel, bad, metadata=BEARER))[1])
    assert until(lambda: "/nowhere" in served.process.log)
    for page in (*pages, served.process.log):
        for secret in (KEY, ADMIN, OTHER):
            assert secret not in page
            assert secret[:-1] not in page


def reflected(channel: grpc.Channel, metadata: Any) -> str:
    """Everything that reflection tells."""
    method: Any = channel.stream_stream(kserve.SERVER_REFLECTION_INFO)
    question = kserve.ServerReflectionRequest(list_services="")
    symbol = kserve.ServerReflectionRequest(
        file_containing_symbol="inference.GRPCInferenceService"
    )
    asked = iter([question.SerializeToString(), symbol.SerializeToString()])
    return b"".join(method(asked, metadata=metadata, timeout=20)).decode("latin-1")


def test_no_list_has_what_is_not_configured_or_is_a_part_of_a_graph(
    served: Site,
) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    with connect(served.address) as channel:
        said = [reflected(channel, BEARER)]
        for path, message in (
            (kserve.HEALTH_LIST, b""),
            (kserve.REPOSITORY_INDEX, b""),
            (kserve.SERVER_METADATA, b""),
            (
                kserve.MODEL_METADATA,
                kserve.ModelMetadataRequest(name="aside").SerializeToString(),
            ),
        ):
            method: Any = channel.unary_unary(path)
            said.append(method(message, metadata=BEARER).decode("latin-1"))
        for name in ("not_configured", HIDDEN):
            refused = status_of(
                lambda name=name: infer(
                    channel, ask(name, {"in": floats(1)}), metadata=BEARER
                )
            )
            assert refused[0] == "NOT_FOUND"
    said += [
        served.rest.ask("GET", path, headers=headers).body.decode()
        for path in ("/v1/config", "/openapi.json", "/v2")
    ]
    assert any("aside" in each for each in said)
    assert "aside" not in said[0]  # reflection tells of services alone
    for each in said:
        assert "not_configured" not in each
        assert HIDDEN not in each


def test_who_has_no_key_gets_no_list_at_all(served: Site) -> None:
    with connect(served.address) as channel:
        assert status_of(lambda: reflected(channel, ()))[0] == "UNAUTHENTICATED"
        for path in (kserve.HEALTH_LIST, kserve.REPOSITORY_INDEX):
            method: Any = channel.unary_unary(path)
            assert status_of(lambda m=method: m(b""))[0] == "UNAUTHENTICATED"
    for path in ("/v1/config", "/v1/models/aside", "/openapi.json"):
        answer = served.rest.get(path)
        assert answer.code == 401
        assert set(json.loads(answer.body)) == {"error"}

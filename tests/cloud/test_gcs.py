"""Google's storage: the same through its own client."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from gcp_storage_emulator.server import Server, create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from ovms_mp.repository.config import ModelSpec
from ovms_mp.repository.storage import connect
from tests.cloud.conftest import BUCKET, files_of
from tests.unit.inference import tiny
from tests.wire.servers import serving


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Bucket]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server: Server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    try:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        client = storage.Client("test", AnonymousCredentials())
        yield client.create_bucket(BUCKET)
    finally:
        server.stop()


def test_a_model_of_googles_storage_is_served_and_checked_by_its_md5(
    emulator: storage.Bucket, tmp_path: Path
) -> None:
    for name, content in files_of(tiny.add_one(), tmp_path).items():
        emulator.blob(f"adder/1/{name}").upload_from_string(content)
    url = f"gs://{BUCKET}/adder"
    assert {len(each.md5) for each in connect(url).files().values()} == {16}
    spec = ModelSpec("adder", Path(), url=url)
    with serving(spec) as server:
        assert list(server.app.catalog.available()) == ["adder"]

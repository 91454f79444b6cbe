"""Azure's blobs, in Azurite, Microsoft's emulator: the same through Azure's own client. It
comes from npm, so it is tried where there is one.
"""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from azure.storage.blob import ContainerClient

from graphs import assets
from ovms_mp.core.errors import ServingError
from ovms_mp.repository.config import ModelSpec
from ovms_mp.repository.storage import connect
from tests.cloud.conftest import BUCKET, files_of
from tests.unit.inference import tiny
from tests.wire import calls
from tests.wire.servers import Server, serving
from tests.wire.waiting import until

AZURITE: Final = "azurite@3.35.0"
ACCOUNT: Final = "somebody"
KEY: Final = base64.b64encode(b"key-of-the-test").decode()
URL: Final = f"az://{BUCKET}/of/adder"
INSTALLED_WITHIN: Final = 300.0  # seconds
SOON: Final = 60.0


@pytest.fixture(scope="module")
def azurite() -> Path:
    """The script of its blob service."""
    npm, folder = shutil.which("npm"), assets.cache_folder() / AZURITE.replace("@", "-")
    script = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if npm is None:
        pytest.skip("there is no npm on this machine")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not script.exists():
            quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-save")
            try:
                subprocess.run(
                    [npm, "install", *quiet, "--prefix", str(folder), AZURITE],
                    check=True,
                    capture_output=True,
                    text=True,
                    timeout=INSTALLED_WITHIN,
                )
            except subprocess.CalledProcessError as error:
                pytest.skip(f"{AZURITE} cannot be had: {error.stderr[-300:]}")
            except subprocess.TimeoutExpired as error:
                pytest.skip(f"{AZURITE} cannot be had: {error}")
    return script


@pytest.fixture
def container(
    azurite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ContainerClient]:
    """An empty one, to which AZURE_STORAGE_CONNECTION_STRING leads."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "azurite.log"
    where = ("--blobHost", "127.0.0.1", "--blobPort", str(port))
    # Azure's client is newer than any emulator.
    how = ("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry")
    with log.open("w") as output:
        process = subprocess.Popen(
            ["node", str(azurite), *where, *how],
            stdout=output,
            stderr=output,
            cwd=tmp_path,
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
        )
    try:
        assert until(lambda: "successfully listens" in log.read_text(), SOON)
        said = connection(port, KEY)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", said)
        client = ContainerClient.from_connection_string(said, BUCKET)
        client.create_container()
        yield client
    finally:
        process.kill()
        process.wait()


def connection(port: int, key: str) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
        f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    )


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where mirrors are, and nothing else is."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def put(container: ContainerClient, folder: Path, version: int, *, rows: int) -> None:
    """A version that answers with so many rows."""
    folder.mkdir()
    made = tiny.add_one() if rows == 1 else tiny.twice((1, 10), np.float32)
    for name, content in files_of(made, folder).items():
        container.upload_blob(f"of/adder/{version}/{name}", content)


def rows_of(server: Server) -> int:
    with server.connect() as channel:
        request = calls.ask("adder", {"x": np.full((1, 10), 3, np.float32)})
        (values,) = calls.arrays(calls.infer(channel, request)).values()
    return len(values)


@pytest.mark.timeout(600)
def test_a_model_of_a_container_is_served_and_so_is_the_next_version(
    container: ContainerClient, tmp_path: Path, folders: Path
) -> None:
    put(container, tmp_path / "one", 1, rows=1)
    spec = ModelSpec("adder", Path(), url=URL)
    with serving(spec, file_system_poll_wait_seconds=1) as server:
        assert rows_of(server) == 1
        put(container, tmp_path / "two", 2, rows=2)
        assert until(lambda: rows_of(server) == 2, SOON)
    assert list(folders.iterdir()) == []


@pytest.mark.timeout(600)
def test_what_comes_has_the_size_and_the_md5_that_is_listed(
    container: ContainerClient, tmp_path: Path
) -> None:
    container.upload_blob("of/adder/1/model.onnx", b"four")
    container.upload_blob("of/other/1/model.onnx", b"not below")
    storage = connect(URL)
    ((name, remote),) = storage.files().items()
    assert (name, remote.size, len(remote.md5)) == ("1/model.onnx", 4, 16)
    storage.fetch(name, remote, tmp_path / "fine")
    assert (tmp_path / "fine").read_bytes() == b"four"
    for wrong in (remote._replace(size=5), remote._replace(md5=b"x" * 16)):
        with pytest.raises(ServingError, match=r"model\.onnx"):
            storage.fetch(name, wrong, tmp_path / "wrong")


@pytest.mark.timeout(600)
def test_a_wrong_key_is_told_and_not_shown(
    container: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(container.primary_endpoint.rpartition(":")[2].partition("/")[0])
    wrong = base64.b64encode(b"another-key").decode()
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection(port, wrong))
    with pytest.raises(ServingError) as caught:
        connect(URL).files()
    assert URL in caught.value.text
    assert wrong not in caught.value.text

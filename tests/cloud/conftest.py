"""Cloud storage on loopback: S3 by moto, Google's by gcp-storage-emulator."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.unit.inference import tiny

BUCKET = "models"


class Bucket:
    """What a test puts into a bucket of S3."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._client: Any = boto3.client("s3", endpoint_url=endpoint)
        self._client.create_bucket(Bucket=BUCKET)

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=BUCKET, Key=key)

    def put_model(self, prefix: str, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            self.put(f"{prefix}/{name}", content)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the environment, and no others."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-the-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
def bucket(credentials: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket that S3_ENDPOINT leads to."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        # Its storage is the process's.
        urllib.request.urlopen(f"{endpoint}/moto-api/reset", b"").close()
        monkeypatch.setenv("S3_ENDPOINT", endpoint)
        yield Bucket(endpoint)
    finally:
        server.stop()


def files_of(model: Any, folder: Path) -> dict[str, bytes]:
    """The files of a version, by their names."""
    tiny.save(folder, model)
    return {path.name: path.read_bytes() for path in folder.iterdir()}

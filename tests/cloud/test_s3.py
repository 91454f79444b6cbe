"""Models in a bucket are served as those in a folder."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository.mirrors import Mirrors
from ovms_mp.repository.storage import connect
from tests.cloud.conftest import BUCKET, Bucket, files_of
from tests.unit.inference import tiny
from tests.wire import calls
from tests.wire.servers import Server, serving
from tests.wire.waiting import until

URL = f"s3://{BUCKET}/adder"
SOON = 60.0  # seconds, on a busy machine


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where mirrors are, and nothing else is."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write(tmp_path / "config.json", {"name": "adder", "base_path": URL})


def write(file: Path, *models: dict[str, str]) -> Path:
    entries = [{"config": model} for model in models]
    file.write_text(json.dumps({"model_config_list": entries}))
    return file


def put(bucket: Bucket, tmp_path: Path, version: int, *, rows: int) -> None:
    """A version that answers with so many rows."""
    folder = tmp_path / f"made{version}{rows}"
    folder.mkdir()
    made = tiny.add_one() if rows == 1 else tiny.twice((1, 10), np.float32)
    bucket.put_model(f"adder/{version}", files_of(made, folder))


def rows_of(server: Server) -> int:
    with server.connect() as channel:
        request = calls.ask("adder", {"x": np.full((1, 10), 3, np.float32)})
        (values,) = calls.arrays(calls.infer(channel, request)).values()
    return len(values)


def states(server: Server) -> dict[str, str]:
    return {
        f"{each.name} {each.version}": f"{each.state.value} {each.reason}"
        for each in server.app.catalog.index()
    }


def is_served(server: Server, version: int) -> bool:
    return states(server).get(f"adder {version}", "").startswith("READY")


def files_in(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    }


def test_a_model_in_a_bucket_is_served_and_leaves_nothing_behind(
    bucket: Bucket, config: Path, tmp_path: Path, folders: Path
) -> None:
    put(bucket, tmp_path, 1, rows=1)
    with serving(config) as server:
        assert is_served(server, 1)
        assert rows_of(server) == 1
        assert files_in(folders)
    assert list(folders.iterdir()) == []


def test_a_version_that_comes_and_one_that_changes_are_served_without_a_restart(
    bucket: Bucket, config: Path, tmp_path: Path, folders: Path
) -> None:
    put(bucket, tmp_path, 1, rows=1)
    with serving(config, file_system_poll_wait_seconds=1.0) as server:
        put(bucket, tmp_path, 2, rows=2)
        assert until(lambda: is_served(server, 2), within=SOON)
        assert rows_of(server) == 2
        put(bucket, tmp_path, 2, rows=1)
        assert until(lambda: rows_of(server) == 1, within=SOON)
        # The one before stays as a spare, and no more than that.
        put(bucket, tmp_path, 3, rows=2)
        assert until(lambda: is_served(server, 3), within=SOON)
        (root,) = folders.iterdir()
        (mirror,) = (path for path in root.iterdir() if path.is_dir())
        assert until(lambda: len(list((mirror / ".contents").iterdir())) == 2)
        assert {each.name for each in mirror.iterdir()} == {".contents", "2", "3"}


def test_what_cannot_be_had_is_told_and_tried_again(
    bucket: Bucket, config: Path, tmp_path: Path
) -> None:
    write(
        config,
        {"name": "adder", "base_path": URL},
        {"name": "other", "base_path": "s3://no-such-bucket/x"},
    )
    with serving(config, file_system_poll_wait_seconds=1.0) as server:
        said = states(server)
        assert "The provided base path" in said["other "] or "bucket" in said["other "]
        assert URL in said["adder "]
        put(bucket, tmp_path, 1, rows=1)
        assert until(lambda: is_served(server, 1), within=SOON)


def test_what_is_gone_from_the_bucket_is_served_still(
    bucket: Bucket, config: Path, tmp_path: Path
) -> None:
    put(bucket, tmp_path, 1, rows=1)
    with serving(config, file_system_poll_wait_seconds=1.0) as server:
        for name in ("model.xml", "model.bin"):
            bucket.delete(f"adder/1/{name}")
        assert until(lambda: server.said("adder", URL), within=SOON)
        assert rows_of(server) == 1


def test_a_model_that_the_config_drops_is_removed_from_here(
    bucket: Bucket, config: Path, tmp_path: Path, folders: Path
) -> None:
    put(bucket, tmp_path, 1, rows=1)
    with serving(config) as server:
        write(config)
        server.app.reload()
        assert {Path(each).name for each in files_in(folders)} == {".lock"}


@pytest.mark.parametrize("name", ["1/../../../evil", "1//evil", "..", "1/a\\b"])
def test_a_name_that_is_no_path_below_is_refused(
    bucket: Bucket, config: Path, tmp_path: Path, folders: Path, name: str
) -> None:
    put(bucket, tmp_path, 1, rows=1)
    bucket.put(f"adder/{name}", b"evil")
    with serving(config) as server:
        assert "an object has the name" in states(server)["adder "]
        assert not any("evil" in path or "a\\b" in path for path in files_in(tmp_path))


def test_what_comes_must_be_what_was_listed(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("adder/1/model.onnx", b"four")
    storage = connect(URL)
    ((name, remote),) = storage.files().items()
    assert (name, remote.size) == ("1/model.onnx", 4)
    storage.fetch(name, remote, tmp_path / "fine")
    assert (tmp_path / "fine").read_bytes() == b"four"
    for wrong in (remote._replace(size=5), remote._replace(md5=b"x" * 16)):
        with pytest.raises(ServingError) as caught:
            storage.fetch(name, wrong, tmp_path / "wrong")
        assert caught.value.status is Status.FILE_INVALID


def test_a_url_may_name_host_and_port_as_in_ovms(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("S3_ENDPOINT")
    bucket.put("adder/1/model.onnx", b"four")
    host = bucket.endpoint.removeprefix("http://")
    assert list(connect(f"s3://{host}/{BUCKET}/adder").files()) == ["1/model.onnx"]


def test_without_credentials_who_asks_is_anonymous(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("adder/1/model.onnx", b"four")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert list(connect(URL).files()) == ["1/model.onnx"]


def test_secrets_are_not_told(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "no-such-bucket")
    with pytest.raises(ServingError) as caught:
        connect("s3://no-such-bucket/x").files()
    assert "no-such-bucket" not in caught.value.text.replace("s3://no-such-bucket", "")


@pytest.mark.parametrize(
    ("scheme", "module"),
    [
        ("s3", "s3fs"),
        ("gs", "gcsfs.core"),
        ("az", "adlfs"),
        ("azfs", "azure.storage.fileshare"),
    ],
)
def test_without_the_extra_it_is_named(
    scheme: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "x")
    with pytest.raises(ServingError, match=r"pip install 'ovms_mp\[cloud\]'"):
        connect(f"{scheme}://models/adder")


def test_what_a_killed_process_left_is_removed_by_the_next(folders: Path) -> None:
    left, fresh, foreign = (folders / f"ovms_mp_models_{name}" for name in "abc")
    for folder in (left, fresh, foreign):
        folder.mkdir()
    for folder in (left, fresh):
        (folder / ".lock").touch()
    hour_ago = time.time() - 3600
    for folder in (left, foreign):
        os.utime(folder, (hour_ago, hour_ago))
    mirrors = Mirrors(0)
    mirrors.become([])
    assert left.exists()
    mirrors._home()
    assert not left.exists()
    assert fresh.exists() and foreign.exists()
    mirrors.close()

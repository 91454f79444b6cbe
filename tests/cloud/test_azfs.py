"""Azure's file shares: models of theirs are served as those of buckets are."""

from __future__ import annotations

import base64
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository.config import ModelSpec
from ovms_mp.repository.mirrors import Mirror
from ovms_mp.repository.storage import connect
from ovms_mp.repository.versions import DEFAULT_POLICY
from tests.cloud.conftest import files_of
from tests.cloud.file_service import Shares, shares
from tests.unit.inference import tiny
from tests.wire import calls
from tests.wire.servers import serving
from tests.wire.waiting import until

URL = "azfs://models/of/adder"
SOON = 60.0  # seconds, on a busy machine


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where mirrors are, and nothing else is."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shares]:
    with shares() as held:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", held.connection())
        held.files["models"] = {}
        yield held


def put(service: Shares, folder: Path, version: int, *, rows: int = 1) -> None:
    """A version that answers with so many rows."""
    made = tiny.add_one() if rows == 1 else tiny.twice((1, 10), np.float32)
    folder.mkdir()
    for name, content in files_of(made, folder).items():
        service.put("models", f"of/adder/{version}/{name}", content)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_model_of_a_share_is_served_and_so_is_the_next_version(
    service: Shares, tmp_path: Path, folders: Path
) -> None:
    put(service, tmp_path / "one", 1)
    spec = ModelSpec("adder", Path(), url=URL)
    with (
        serving(spec, file_system_poll_wait_seconds=1.0) as server,
        server.connect() as channel,
    ):
        request = calls.ask("adder", {"x": np.full((1, 10), 3, np.float32)})

        def rows() -> int:
            (values,) = calls.arrays(calls.infer(channel, request)).values()
            return len(values)

        assert rows() == 1
        put(service, tmp_path / "two", 2, rows=2)
        assert until(lambda: rows() == 2, within=SOON)
    assert list(folders.iterdir()) == []


def test_what_lies_below_is_listed_page_by_page_with_sizes_and_digests(
    service: Shares,
) -> None:
    wanted = {f"1/{letter}/{letter} ä&.bin": letter.encode() for letter in "abcde"}
    wanted |= {"2/model.onnx": b"", "readme": b"x"}
    for name, content in wanted.items():
        service.put("models", f"of/adder/{name}", content)
    service.put("models", "of/somebody/else", b"x")
    service.put("models", "of/adder_2/1/else", b"x")
    found = connect(URL).files()
    assert {name: each.size for name, each in found.items()} == {
        name: len(content) for name, content in wanted.items()
    }
    assert len({each.tag for each in found.values()}) == len(wanted)
    assert {len(each.md5) for each in found.values()} == {16}
    below = "of/adder/"
    everything = connect("azfs://models").files()
    assert {n.removeprefix(below) for n in everything if n.startswith(below)} == {
        *wanted
    }


def test_what_is_as_it_was_costs_a_listing_only(service: Shares) -> None:
    for name in ("1/model.bin", "1/model.xml"):
        service.put("models", f"of/adder/{name}", b"as it was")
    storage = connect(URL)
    first = storage.files()
    service.asked.clear()
    assert storage.files() == first
    assert not [each for each in service.asked if each.startswith("HEAD")]
    service.put("models", "of/adder/1/model.xml", b"another")
    assert storage.files()["1/model.xml"] != first["1/model.xml"]


@pytest.mark.parametrize("size", [0, 1, (36 << 20) + 5])
def test_a_file_comes_whole_in_as_many_parts_as_it_takes(
    service: Shares, tmp_path: Path, size: int
) -> None:
    content = random.Random(size).randbytes(size)
    service.put("models", "of/adder/1/model.bin", content)
    storage = connect(URL)
    ((name, remote),) = storage.files().items()
    storage.fetch(name, remote, tmp_path / "here")
    assert (tmp_path / "here").read_bytes() == content
    ranges = [each for each in service.asked if "bytes=" in each]
    assert len(ranges) == (1 if size < 1 << 20 else 3)


def test_what_is_cut_off_is_not_served_and_nothing_of_it_stays(
    service: Shares, tmp_path: Path, folders: Path
) -> None:
    put(service, tmp_path / "made", 1)
    name = "of/adder/1/model.bin"
    service.cut_off.add(name)
    mirror = Mirror(URL, folders / "mirror", DEFAULT_POLICY)
    mirror.sync()
    assert mirror.state.error is not None
    assert not files_in(folders)
    service.cut_off.clear()
    mirror.sync()
    assert mirror.state.error is None
    assert files_in(folders) == {"model.bin", "model.xml"}


def test_what_changes_while_it_is_read_is_read_again(
    service: Shares, tmp_path: Path, folders: Path
) -> None:
    put(service, tmp_path / "made", 1)
    name = "of/adder/1/model.xml"
    before = service.files["models"][name].content
    after = before.replace(b"x", b"y")
    service.rewritten_when_read[name] = after
    mirror = Mirror(URL, folders / "mirror", DEFAULT_POLICY)
    mirror.sync()
    assert "changed while it was read" in str(mirror.state.error)
    assert not files_in(folders)
    mirror.sync()
    assert mirror.state.error is None
    assert (folders / "mirror" / "1" / "model.xml").read_bytes() == after


def test_what_has_another_digest_than_is_told_is_refused(
    service: Shares, tmp_path: Path
) -> None:
    service.put("models", "of/adder/1/model.bin", b"content", md5=b"wrong" + b"." * 11)
    storage = connect(URL)
    ((name, remote),) = storage.files().items()
    with pytest.raises(ServingError, match="another MD5") as caught:
        storage.fetch(name, remote, tmp_path / "here")
    assert caught.value.status is Status.FILE_INVALID


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("azfs://models/nowhere", "The specified resource does not exist"),
        ("azfs://nobody/of/adder", "The specified share does not exist"),
    ],
)
def test_what_is_not_there_is_told(service: Shares, url: str, said: str) -> None:
    with pytest.raises(ServingError, match=said) as caught:
        connect(url).files()
    assert caught.value.status is Status.PATH_INVALID
    assert caught.value.text.count(url) == 1


def test_a_wrong_key_is_told_and_not_shown(
    service: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = base64.b64encode(b"another key").decode()
    connection = service.connection(wrong)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
    service.put("models", "of/adder/1/model.bin", b"x")
    with pytest.raises(ServingError, match="failed to authenticate") as caught:
        connect(URL).files()
    assert wrong not in caught.value.text


@pytest.mark.parametrize("connection", ["", "no=connection"])
def test_without_a_connection_string_it_is_asked_for(
    connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
    with pytest.raises(ServingError, match=r"(?i)connection.string") as caught:
        connect(URL)
    assert caught.value.status is Status.PATH_INVALID


def test_the_proxy_is_the_one_of_http_if_ovms_variable_says_so(
    service: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = service.connection().replace("FileEndpoint=http://127.0.0.1", "X=")
    away += "FileEndpoint=https://files.invalid/testing"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", away)
    monkeypatch.setenv("AZURE_STORAGE_USE_HTTP_PROXY", "1")
    monkeypatch.setenv("http_proxy", service.endpoint)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ServingError):
        connect(URL).files()
    assert "CONNECT files.invalid:443" in service.asked

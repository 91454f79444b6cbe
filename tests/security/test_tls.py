"""TLS on both ports: who is shown what, and certificates that change meanwhile."""

from __future__ import annotations

import os
import socket
import ssl
import urllib.request
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import trustme
from ovms_mp_protos import kserve

from ovms_mp.cli import main
from ovms_mp.settings import SecuritySettings, TlsPaths
from tests.wire import zoo
from tests.wire.servers import Process, Server, serving
from tests.wire.waiting import until

NAME = "localhost"
AUTHORITY = trustme.CA()
OTHERS = trustme.CA()


class Files:
    """A certificate in files."""

    def __init__(
        self,
        folder: Path,
        authority: trustme.CA = AUTHORITY,
        expires: datetime | None = None,
    ) -> None:
        self.certificate = folder / "chain.pem"
        self.key = folder / "key.pem"
        self.roots = folder / "roots.pem"
        authority.cert_pem.write_to_path(self.roots)
        self.renew(authority, expires)

    def renew(
        self, authority: trustme.CA = AUTHORITY, expires: datetime | None = None
    ) -> None:
        identity = authority.issue_cert(NAME, not_after=expires)
        identity.private_key_pem.write_to_path(self.key)
        chain = b"".join(each.bytes() for each in identity.cert_chain_pems)
        self.certificate.write_bytes(chain)

    def paths(self, *, is_mutual: bool = False) -> TlsPaths:
        return TlsPaths(self.certificate, self.key, self.roots if is_mutual else None)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    zoo.add_graph(tmp_path, "echo", zoo.ECHO)
    return zoo.write_config(tmp_path, [], [{"name": "echo"}])


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(params=["core", "aio"])
def server(
    config: Path, files: Files, request: pytest.FixtureRequest
) -> Iterator[Server]:
    security = SecuritySettings(grpc_tls=files.paths(), rest_tls=files.paths())
    with serving(config, security=security, grpc_transport=request.param) as server:
        yield server


def is_live(port: int, authority: trustme.CA, *identity: bytes) -> bool:
    """Whether gRPC answers who trusts the authority, and shows this key and chain."""
    trust = grpc.ssl_channel_credentials(authority.cert_pem.bytes(), *identity)
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"{NAME}:{port}", trust, options) as channel:
        try:
            channel.unary_unary(kserve.SERVER_LIVE)(b"", timeout=5)
        except grpc.RpcError:
            return False
        return True


def has_page(
    port: int | None, authority: trustme.CA, identity: Files | None = None
) -> bool:
    """Whether REST does."""
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    try:
        url = f"https://{NAME}:{port}/v2/health/live"
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


def test_both_ports_show_their_certificate(server: Server) -> None:
    port, rest_port = server.app.port, server.app.rest_port
    assert is_live(port, AUTHORITY)
    assert not is_live(port, OTHERS)
    assert has_page(rest_port, AUTHORITY)
    assert not has_page(rest_port, OTHERS)


def test_nothing_is_said_in_the_clear(server: Server) -> None:
    with server.connect() as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary(kserve.SERVER_LIVE)(b"", timeout=5)
    with pytest.raises(OSError, match=r"."):
        urllib.request.urlopen(
            f"http://{NAME}:{server.app.rest_port}/v2/health/live", timeout=10
        )


def test_tritons_client_is_served(server: Server, files: Files) -> None:
    client = tritonclient.grpc.InferenceServerClient(
        f"{NAME}:{server.app.port}", ssl=True, root_certificates=str(files.roots)
    )
    with client:
        assert client.is_server_ready()


def test_a_certificate_that_changes_is_shown_from_then_on(
    server: Server, files: Files
) -> None:
    """One of another authority, so that clients see the difference."""
    port, rest_port = server.app.port, server.app.rest_port
    files.renew(OTHERS)
    assert until(lambda: is_live(port, OTHERS))
    assert not is_live(port, AUTHORITY)
    assert until(lambda: has_page(rest_port, OTHERS))
    assert not has_page(rest_port, AUTHORITY)
    files.key.write_bytes(OTHERS.issue_cert(NAME).private_key_pem.bytes())
    for _ in range(2):  # half of a change changes nothing
        assert is_live(port, OTHERS)
        assert has_page(rest_port, OTHERS)
    assert server.said("the certificate stays as it was")
    files.renew()
    assert until(lambda: is_live(port, AUTHORITY) and has_page(rest_port, AUTHORITY))


def test_clients_show_a_certificate_where_they_must(
    config: Path, files: Files, tmp_path: Path
) -> None:
    paths = files.paths(is_mutual=True)
    (tmp_path / "other").mkdir()
    other = Files(tmp_path / "other", OTHERS)
    security = SecuritySettings(grpc_tls=paths, rest_tls=paths)
    with serving(config, security=security) as server:
        port, rest_port = server.app.port, server.app.rest_port
        for identity, is_good in ((None, False), (other, False), (files, True)):
            pair = identity and (
                identity.key.read_bytes(),
                identity.certificate.read_bytes(),
            )
            assert is_live(port, AUTHORITY, *(pair or ())) is is_good
            assert has_page(rest_port, AUTHORITY, identity) is is_good


@pytest.mark.parametrize("transport", ["core", "aio"])
def test_roots_of_clients_change_for_grpc_while_it_runs(
    config: Path, files: Files, tmp_path: Path, transport: str
) -> None:
    (tmp_path / "other").mkdir()
    other = Files(tmp_path / "other", OTHERS)
    security = SecuritySettings(grpc_tls=files.paths(is_mutual=True))
    with serving(config, security=security, grpc_transport=transport) as server:

        def lets_in(identity: Files) -> bool:
            pair = identity.key.read_bytes(), identity.certificate.read_bytes()
            return is_live(server.app.port, AUTHORITY, *pair)

        assert lets_in(files) and not lets_in(other)
        OTHERS.cert_pem.write_to_path(files.roots)
        assert until(lambda: lets_in(other))
        assert not lets_in(files)


def test_a_certificate_that_has_expired_lets_no_client_in(
    config: Path, files: Files, tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    old = Files(tmp_path / "old", expires=datetime(2020, 1, 1, tzinfo=UTC))
    paths = files.paths(is_mutual=True)
    security = SecuritySettings(grpc_tls=paths, rest_tls=paths)
    with serving(config, security=security) as server:
        for identity, is_good in ((old, False), (files, True)):
            pair = identity.key.read_bytes(), identity.certificate.read_bytes()
            assert is_live(server.app.port, AUTHORITY, *pair) is is_good
            assert has_page(server.app.rest_port, AUTHORITY, identity) is is_good


@pytest.mark.parametrize(
    ("version", "is_good"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_nothing_is_below_tls_1_2(
    server: Server, version: ssl.TLSVersion, is_good: bool
) -> None:
    context = ssl.create_default_context(cadata=AUTHORITY.cert_pem.bytes().decode())
    # What the library would not offer by itself, so that it is the server that refuses.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2", "http/1.1"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    for port in (server.app.port, server.app.rest_port):
        with socket.create_connection((NAME, port or 0), timeout=20) as connection:
            try:
                with context.wrap_socket(connection, server_hostname=NAME) as wrapped:
                    said = wrapped.version()
            except (ssl.SSLError, OSError):
                said = None
        assert (said is not None) is is_good


def test_a_certificate_that_is_none_is_no_start(config: Path, files: Files) -> None:
    flags = (
        *("--config_path", str(config)),
        *("--grpc_certificate_path", str(files.certificate)),
        *("--grpc_key_path", str(files.key)),
    )
    files.key.write_text("no key")
    with Process(config.parent, *flags) as server:
        assert server.code() == 1
        assert f"not the certificate of {files.key}" in server.log
        assert "Traceback" not in server.log


def test_half_of_a_certificate_is_wrong_usage(config: Path, files: Files) -> None:
    flags = ("--config_path", str(config), "--rest_key_path", str(files.key))
    with Process(config.parent, *flags) as server:
        assert server.code() == 64
        assert "rest_certificate_path and rest_key_path are needed together" in (
            server.log
        )


def test_commands_reach_a_server_that_wants_certificates_and_a_key(
    config: Path,
    files: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "keys").write_text("the-key\n")
    np.savez(tmp_path / "data.npz", allow_pickle=False, **{"in": np.zeros(3)})
    security = SecuritySettings(
        api_key_file=tmp_path / "keys", grpc_tls=files.paths(is_mutual=True)
    )
    trust = ("--ca", str(files.roots))
    shown = ("--cert", str(files.certificate), "--key", str(files.key))
    bench = ("--concurrency", "1", "--seconds", "0.2")
    bench += ("--data", str(tmp_path / "data.npz"))
    monkeypatch.delenv("API_KEY", raising=False)
    with serving(config, security=security) as server:
        address = f"{NAME}:{server.app.port}"
        commands = (["status", address], ["bench", address, "echo", *bench])
        for command in (*commands, [*commands[1], "--stream"]):
            assert main([*command]) == 1
            assert main([*command, *trust]) == 1
            assert "UNAVAILABLE" in capsys.readouterr().out
            assert main([*command, *trust, *shown]) == 1
            assert "UNAUTHENTICATED" in capsys.readouterr().out
            key = ("--api_key_file", str(tmp_path / "keys"))
            assert main([*command, *trust, *shown, *key]) == 0
            with monkeypatch.context() as variables:
                variables.setenv("API_KEY", "the-key")
                assert main([*command, *trust, *shown]) == 0
            assert "the-key" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--cert", "chain"], "--cert and --key are needed together"),
        (["--ca", "nowhere"], "--ca: nowhere: No such file or directory"),
        (["--api_key_file", os.devnull], "--api_key_file: there is no key in"),
    ],
)
def test_commands_refuse_half_of_what_it_takes(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "localhost:1", *flags]) == 64
    assert capsys.readouterr().err.startswith(said)

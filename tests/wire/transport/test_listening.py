"""Where a server listens, and to whom it answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
import trustme

from ovms_mp.frontend.transport.seam import Tls
from tests.wire.transport.world import (
    Echo,
    World,
    echo,
    refusal,
    stream_of,
    unary_of,
)


def test_a_server_answers_on_each_of_its_addresses(
    world: World, tmp_path: Path
) -> None:
    path = f"unix:{tmp_path}/socket"
    server = world.serve({"u": echo}, ["127.0.0.1:0", "127.0.0.1:0", path])
    first, second, unix = server.ports
    assert first != second
    assert unix == 1
    for target in (f"127.0.0.1:{first}", f"127.0.0.1:{second}", path):
        assert world.unary("u", target)(b"1") == b"1"


def test_an_address_that_is_taken_is_named(world: World) -> None:
    server = world.serve({"u": echo})
    taken = f"127.0.0.1:{server.ports[0]}"
    with pytest.raises(OSError, match=taken):
        world.transport({}, [taken])


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("no-such-host.invalid:0", r"on no-such-host\.invalid: "),
        # Of documentation (RFC 5737): no machine has it.
        ("192.0.2.1:0", r"on 192\.0\.2\.1:0: Cannot assign requested address"),
        ("unix:/no/such/directory/socket", "socket: its directory is missing"),
    ],
)
def test_why_there_is_no_server_on_an_address_is_told(
    world: World, address: str, why: str
) -> None:
    with pytest.raises(OSError, match=why) as caught:
        world.transport({}, [address])
    assert "taken" not in str(caught.value)


def test_a_unix_socket_is_taken_from_the_dead_only_and_gone_at_the_end(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = world.serve({"u": echo}, [f"unix:{path}"])
    with pytest.raises(OSError, match=f"unix:{path}"):
        world.transport({}, [f"unix:{path}"])
    assert world.unary("u", f"unix:{path}")(b"1") == b"1"
    assert world.stop(server)
    assert not path.exists()


def test_a_file_is_not_replaced_by_a_socket(world: World, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(OSError, match="cannot listen"):
        world.transport({}, [f"unix:{path}"])
    assert path.read_text() == "precious"


def test_a_server_that_cannot_have_all_addresses_takes_none(world: World) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        free = holder.getsockname()[1]
    server = world.serve({"u": echo})
    before = threading.active_count()
    with pytest.raises(OSError, match="cannot listen"):
        world.transport({}, [f"127.0.0.1:{free}", f"127.0.0.1:{server.ports[0]}"])
    assert threading.active_count() <= before
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", free))


def test_two_servers_share_a_port_if_both_are_told_to(world: World) -> None:
    shared = [("grpc.so_reuseport", 1)]
    server = world.serve({"u": echo}, options=shared)
    world.serve({"u": echo}, [f"127.0.0.1:{server.ports[0]}"], options=shared)
    assert world.unary("u")(b"1") == b"1"


def test_a_method_that_is_not_there_is_unimplemented(world: World) -> None:
    world.serve({"u": echo})
    channel, over = world.dial(), threading.Event()
    error = refusal(unary_of(channel, "nope"), b"")
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED

    def silent() -> Iterator[bytes]:
        over.wait(20)
        return
        yield

    error = refusal(stream_of(channel, "nope"), silent())
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    over.set()


@pytest.fixture(scope="module")
def identities() -> SimpleNamespace:
    """A server's and a client's key and certificate, and who signed them."""
    authority = trustme.CA()
    server, client = authority.issue_cert("localhost"), authority.issue_cert("me")

    def pair(cert: trustme.LeafCert) -> tuple[bytes, bytes]:
        chain = b"".join(blob.bytes() for blob in cert.cert_chain_pems)
        return cert.private_key_pem.bytes(), chain

    return SimpleNamespace(
        server=pair(server), client=pair(client), root=authority.cert_pem.bytes()
    )


def test_tls_shows_the_servers_certificate(
    world: World, identities: SimpleNamespace
) -> None:
    tls = Tls(*identities.server)
    server = world.serve({"u": echo, "s": Echo}, tls=tls)
    target = f"localhost:{server.ports[0]}"
    trusting = grpc.ssl_channel_credentials(identities.root)
    channel = world.dial(target, trusting)
    assert unary_of(channel, "u")(b"1") == b"1"
    assert list(stream_of(channel, "s")(iter([b"a", b"b"]))) == [b"a", b"b"]
    plain = refusal(world.unary("u", target), b"1", timeout=5)
    assert plain.code() == grpc.StatusCode.UNAVAILABLE


def test_mutual_tls_asks_the_client_for_a_certificate(
    world: World, identities: SimpleNamespace
) -> None:
    tls = Tls(*identities.server, client_roots=identities.root)
    server = world.serve({"u": echo}, tls=tls)
    target = f"localhost:{server.ports[0]}"
    nobody = grpc.ssl_channel_credentials(identities.root)
    error = refusal(unary_of(world.dial(target, nobody), "u"), b"1", timeout=5)
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    somebody = grpc.ssl_channel_credentials(identities.root, *identities.client)
    assert unary_of(world.dial(target, somebody), "u")(b"1") == b"1"

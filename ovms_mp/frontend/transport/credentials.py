"""A certificate as gRPC takes it: settled at the start, or asked for at each handshake."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import grpc

from ovms_mp.frontend.transport.seam import Tls

Fetch = Callable[[], grpc.ServerCertificateConfiguration]


def credentials(tls: Tls) -> grpc.ServerCredentials:
    """What a port is opened with."""
    wants_client = tls.client_roots is not None
    if tls.renewed is not None:
        return grpc.dynamic_ssl_server_credentials(
            configuration(tls), fetching(tls.renewed), wants_client
        )
    return grpc.ssl_server_credentials(
        [(tls.key, tls.certificate)], tls.client_roots, wants_client
    )


def configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    """For handshakes from now on."""
    return grpc.ssl_server_certificate_configuration(
        [(tls.key, tls.certificate)], tls.client_roots
    )


def fetching(renewed: Callable[[], Tls | None]) -> Fetch:
    """What grpcio asks for news; None for nothing, which its types forget."""

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        news = renewed()
        return news and configuration(news)

    return cast("Fetch", fetch)

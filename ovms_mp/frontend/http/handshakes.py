"""A TLS handshake has an end, as one over gRPC has, and one that fails is told in the log."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final

from ovms_mp.frontend.http.request import INTERFACE
from ovms_mp.telemetry import requests

HANDSHAKE_SECONDS: Final = 10.0
"""For a handshake of TLS; then the client is hung up on."""


class HandshakeLoop(asyncio.SelectorEventLoop):
    """An event loop whose servers wait no longer for a handshake."""

    handshake_seconds = HANDSHAKE_SECONDS

    async def create_server(  # pyright: ignore[reportIncompatibleMethodOverride]  # it is the same, in short
        self, *where: Any, **how: Any
    ) -> asyncio.Server:
        """See AbstractEventLoop."""
        if how.get("ssl") is not None:
            how["ssl_handshake_timeout"] = self.handshake_seconds
        return await super().create_server(*where, **how)


class ToldHandshake(ssl.SSLObject):
    """A server's end of a connection, for SSLContext.sslobject_class."""

    def do_handshake(self) -> None:
        """See SSLObject."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            requests.failed(INTERFACE, "handshake", "", "TLS", _reason(error))
            raise


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's, without the place in its source."""
    reason = (error.reason or "it is no TLS").replace("_", " ").lower()
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{reason}: {error.verify_message}"
    return reason

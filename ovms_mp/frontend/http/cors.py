"""What browsers are told, and everybody else, as OVMS does: the same headers on every
answer, whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.datastructures import Headers

ANY: Final = "*"
_PREFIX: Final = b"access-control-allow-"


@dataclass(frozen=True, slots=True)
class Cors:
    """Values of the headers, in one line each."""

    origins: str = ANY
    methods: str = ANY
    headers: str = ANY
    has_credentials: bool = False

    def as_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """What every response has."""
        told = [
            (_PREFIX + b"origin", self.origins.encode("latin-1")),
            (_PREFIX + b"methods", self.methods.encode("latin-1")),
            (_PREFIX + b"headers", self.headers.encode("latin-1")),
            # Without this a page cannot see how much of a body is JSON.
            (b"access-control-expose-headers", b"inference-header-content-length"),
        ]
        if self.has_credentials:
            told.append((_PREFIX + b"credentials", b"true"))
        return told

    def allows(self, headers: Headers) -> bool:
        """Whether a page may open a WebSocket, which browsers leave to the server: one
        of an origin that is named, or of this server's. Who tells no origin is no page.
        """
        origin = headers.get("origin")
        if origin is None or ANY in (known := _listed(self.origins)):
            return True
        host = _host(origin)
        return origin in known or (host != "" and host == headers.get("host"))


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""  # of none that could be


def _listed(origins: str) -> Sequence[str]:
    return [each.strip() for each in origins.split(",")]

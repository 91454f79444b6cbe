"""What the ports ask of who comes in: the keys and certificates that settings name, read
before anything is served. A door that cannot be closed is not opened.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ovms_mp.frontend.access import Access, KeyFile, Keys
from ovms_mp.frontend.certificates import Certificates, Paths

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from pathlib import Path

    from ovms_mp.frontend.transport.seam import Tls
    from ovms_mp.settings import SecuritySettings, TlsPaths

log = logging.getLogger(__name__)

API_KEY: Final = "API_KEY"
"""OVMS's variable for a key where no file is named."""


class Doors:
    """Raises KeysError and CertificateError, which are OSErrors."""

    def __init__(self, settings: SecuritySettings, environ: Mapping[str, str]) -> None:
        keys = _keys(settings.api_key_file)
        if keys is None and environ.get(API_KEY):
            keys = Keys([environ[API_KEY]])
        admin_keys = _keys(settings.admin_api_key_file)
        self.access: Final = Access(keys, admin_keys)
        self._grpc = _certificates(settings.grpc_tls)
        self._rest = _certificates(settings.rest_tls)
        if keys or admin_keys:
            log.info("clients are asked for API keys")

    def grpc_tls(self) -> Tls | None:
        """Of the gRPC ports."""
        return self._grpc and self._grpc.tls

    def rest_tls(self) -> ssl.SSLContext | None:
        """Of the REST ports."""
        return self._rest and self._rest.context()


def _keys(path: Path | None) -> Keys | None:
    return path and KeyFile(path)


def _certificates(paths: TlsPaths | None) -> Certificates | None:
    return paths and Certificates(Paths(*paths))

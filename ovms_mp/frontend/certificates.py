"""A server's certificate in files, which are read anew when they change: who renews them
need not restart the server, and what does not fit together changes nothing.
"""

from __future__ import annotations

import logging
import ssl
import threading
from pathlib import Path
from typing import Final, NamedTuple

from ovms_mp.frontend.transport.seam import Tls

log = logging.getLogger(__name__)


class Paths(NamedTuple):
    """PEM files: the chain that the server shows, its key, and, if clients have to show
    a certificate, who must have signed it.
    """

    certificate: Path
    key: Path
    client_roots: Path | None = None


class CertificateError(OSError):
    """The files are not what they should be."""


class Certificates:
    """Reads at once, and raises CertificateError if that is not possible. Thread-safe."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._seen = _states(paths)
        self._tls, self._context = _read(paths)

    @property
    def tls(self) -> Tls:
        """For gRPC, which asks it for news at each handshake."""
        return Tls(
            self._tls.key, self._tls.certificate, self._tls.client_roots, self._news
        )

    def context(self) -> ssl.SSLContext:
        """For other sockets. Each handshake has the certificate of the day; roots of
        clients are those of the start.
        """
        _, context = _read(self._paths)
        context.sni_callback = self._show
        return context

    def _news(self) -> Tls | None:
        return self._tls if self._look() else None

    def _show(self, socket: ssl.SSLObject, name: str, own: ssl.SSLContext) -> None:
        """Called for a client that names nobody, too."""
        self._look()
        socket.context = self._context

    def _look(self) -> bool:
        """Whether there is something new."""
        with self._lock:
            states = _states(self._paths)
            if states == self._seen:
                return False
            self._seen = states
            try:
                self._tls, self._context = _read(self._paths)
            except CertificateError as error:
                log.error("%s; the certificate stays as it was", error)
                return False
            log.info("the certificate has changed")
            return True


def _states(paths: Paths) -> tuple[object, ...]:
    def state(path: Path | None) -> object:
        try:
            found = path and path.stat()
        except OSError:
            return None
        return found and (found.st_ino, found.st_mtime_ns, found.st_size)

    return tuple(map(state, paths))


def _read(paths: Paths) -> tuple[Tls, ssl.SSLContext]:
    """Raises CertificateError. gRPC would take anything, and then no connection."""
    try:
        certificate, key, roots = (each and each.read_bytes() for each in paths)
    except OSError as error:
        text = f"{error.filename}: cannot be read: {error.strerror}"
        raise CertificateError(text) from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(paths.certificate, paths.key, _no_password)
    except ssl.SSLError as error:
        text = (
            f"{paths.certificate}: not the certificate of {paths.key}: {error.reason}"
        )
        raise CertificateError(text) from error
    if paths.client_roots is not None:
        try:
            context.load_verify_locations(paths.client_roots)
        except ssl.SSLError as error:
            text = f"{paths.client_roots}: no certificates: {error.reason}"
            raise CertificateError(text) from error
        context.verify_mode = ssl.CERT_REQUIRED
    assert certificate is not None
    assert key is not None
    return Tls(key, certificate, roots), context


_NOTHING: Final = ""


def _no_password() -> str:
    """Instead of a question on the terminal, which OpenSSL would ask."""
    return _NOTHING

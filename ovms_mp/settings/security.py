"""What flags say of keys and certificates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from ovms_mp.settings.flags import Flags, UsageError


class TlsPaths(NamedTuple):
    """Files of PEM: chain, key, and roots of clients' certificates."""

    certificate: Path
    key: Path
    client_roots: Path | None


@dataclass(frozen=True, slots=True)
class SecuritySettings:
    """Files of keys, and the certificates of both ports; None for none. What a config
    names lies below `config_root`, if there is one.
    """

    api_key_file: Path | None = None
    admin_api_key_file: Path | None = None
    grpc_tls: TlsPaths | None = None
    rest_tls: TlsPaths | None = None
    config_root: Path | None = None


TRUSTING: Final = SecuritySettings()
"""Where no flag says anything."""


def security(flags: Flags) -> SecuritySettings:
    """Raises UsageError for half of a certificate: a server that is open where its
    operator wanted TLS is worse than none.
    """
    return SecuritySettings(
        flags.path("api_key_file"),
        flags.path("admin_api_key_file"),
        _tls(flags, "grpc"),
        _tls(flags, "rest"),
        _config_root(flags),
    )


def _config_root(flags: Flags) -> Path | None:
    root = flags.path("config_root")
    if root is not None and not root.is_dir():
        raise UsageError(f"config_root should be a directory, not {str(root)!r}")
    return root and root.absolute()


def _tls(flags: Flags, port: str) -> TlsPaths | None:
    names = [f"{port}_{part}_path" for part in ("certificate", "key", "ca")]
    certificate, key, roots = map(flags.path, names)
    if certificate and key:
        return TlsPaths(certificate, key, roots)
    if certificate or key or roots:
        raise UsageError(f"{names[0]} and {names[1]} are needed together")
    return None

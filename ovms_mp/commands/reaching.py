"""How a command reaches a server that wants TLS, a certificate or a key: flags of its
own. What is secret comes from a file or the environment: arguments are seen by everybody
on the machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ovms_mp.settings import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from ovms_mp.frontend.grpc.asking import Access

API_KEY: Final = "API_KEY"
"""The variable of a key, as the server's own."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Have the parser know what `access` reads."""
    group = parser.add_argument_group("a server with TLS or keys")
    group.add_argument("--tls", action="store_true", help="trust who gRPC trusts")
    group.add_argument("--ca", metavar="FILE", type=Path, help="trust these roots")
    group.add_argument("--cert", metavar="FILE", type=Path, help="the client's chain")
    group.add_argument("--key", metavar="FILE", type=Path, help="and its private key")
    group.add_argument(
        "--api_key_file",
        metavar="FILE",
        type=Path,
        help=f"its first line is shown as the key; without it, the variable {API_KEY}",
    )


def access(
    given: argparse.Namespace, environ: Mapping[str, str] = os.environ
) -> Access:
    """What the flags say. Raises UsageError."""
    # gRPC is for those who ask a server.
    from ovms_mp.frontend.grpc.asking import Access

    if bool(given.cert) != bool(given.key):
        raise UsageError("--cert and --key are needed together")
    return Access(
        is_secure=bool(given.tls or given.ca or given.cert),
        roots=_content("--ca", given.ca),
        chain=_content("--cert", given.cert),
        private_key=_content("--key", given.key),
        api_key=_key(given.api_key_file, environ),
    )


def _key(file: Path | None, environ: Mapping[str, str]) -> str | None:
    if file is None:
        return environ.get(API_KEY) or None
    content = _content("--api_key_file", file) or b""
    lines = content.decode("ascii", "replace").split()
    if not lines:
        raise UsageError(f"--api_key_file: there is no key in {file}")
    return lines[0]


def _content(flag: str, file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{flag}: {file}: {error.strerror}") from error

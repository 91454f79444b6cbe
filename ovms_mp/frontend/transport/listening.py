"""An address is taken from nobody, and its loss has one wording."""

from __future__ import annotations

import socket
from pathlib import Path

from ovms_mp.core import addresses
from ovms_mp.core.addresses import UNIX


def listening_error(address: str) -> OSError:
    """Why there is no server on `address`: grpcio does not say."""
    reason = "it is taken, or not this machine's to take"
    if not address.startswith(UNIX):
        host, _, port = address.rpartition(":")
        try:
            for each in addresses.resolved(host.strip("[]")):
                addresses.bound(host.strip("[]"), each, int(port)).close()
        except OSError as error:
            return error
    elif not Path(address.removeprefix(UNIX)).parent.is_dir():
        reason = "its directory is missing"
    return OSError(f"cannot listen on {address}: {reason}")


def ensure_nobody_answers(address: str) -> None:
    """Raise OSError if `address` is a Unix socket that a server listens on: grpcio would
    put its own in that one's place. A file that is left of a dead server may be replaced.
    """
    if not address.startswith(UNIX):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # it may have no room for one more
        try:
            probe.connect(address.removeprefix(UNIX))
        except BlockingIOError:
            pass
        except OSError:
            return
    raise listening_error(address)

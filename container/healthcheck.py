"""Docker asks, in the image, whether the server that runs as PID 1 is ready.

    python healthcheck.py [PID]

Where it listens is what its own command line says, and the environment, which Docker gives
to both, so that no flag has to be given twice. The exit code is Docker's: 0 healthy, 1 not.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ovms_mp_clients import Client, ClientError

from ovms_mp.commands import environment
from ovms_mp.core import addresses
from ovms_mp.settings import DEFAULT_PORT, EVERYWHERE

_FLAGS: Final = {"grpc_bind_address": EVERYWHERE, "port": str(DEFAULT_PORT)}


def address_of(
    command_line: list[str], environ: Mapping[str, str] = os.environ
) -> tuple[str, str]:
    """Host and port at which a server that was started so answers this machine."""
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    for flag in _FLAGS:
        parser.add_argument(f"--{flag}")
    # `docker run --init` makes PID 1 another one: docker-init -- ovms-mp --port 9000.
    said, _ = parser.parse_known_args([each for each in command_line if each != "--"])
    given: dict[str, str] = vars(said)
    flags = environment.completed(given, _FLAGS, environ)
    listening, port = (flags.get(flag) or _FLAGS[flag] for flag in _FLAGS)
    host = listening.split(",", maxsplit=1)[0]
    return {EVERYWHERE: "127.0.0.1", "::": "::1"}.get(host, host), port


def main(arguments: list[str]) -> int:
    """`[PID]`: ask that server; 0 if it is ready."""
    process = arguments[0] if arguments else "1"
    command_line = Path(f"/proc/{process}/cmdline").read_text().split("\0")
    host, port = address_of(command_line)
    address = addresses.text(host, port)
    # A proxy that the environment names is not for this.
    os.environ["no_grpc_proxy"] = host  # noqa: SIM112  # gRPC reads it in lower case
    try:
        with Client(address) as client:
            is_ready = client.is_ready()
    except ClientError as error:
        print(f"{address}: {error}")
        return 1
    print(f"{address} is {'ready' if is_ready else 'not ready'}")
    return 0 if is_ready else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What every worker process does first: it ends when the server does, leaves no core
file, and takes no heed of a terminal's Ctrl-C.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def connect(arguments: Sequence[str]) -> socket.socket:
    """The link to the server, from the arguments that a Child gives."""
    _, link, lifeline = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(
        target=_end_with_server, args=(int(lifeline),), daemon=True
    ).start()
    return socket.socket(fileno=int(link))


def _end_with_server(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)

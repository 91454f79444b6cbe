"""The worker's end of the weights that all workers share."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from ovms_mp.supervisor.link import Link, SupervisorGone

log = logging.getLogger(__name__)

COPY_SECONDS: Final = 600.0
"""For the supervisor to read the file, and those that others want before."""


class Borrower:
    """Asks the supervisor. Thread-safe; blocks."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @contextmanager
    def borrowed(self, path: Path) -> Generator[Path | None]:
        """A file that has what is in `path` now, and stays so, to be mapped within; None
        if there is none to be had, which the log explains.
        """
        file = None
        with suppress(SupervisorGone):
            file = self._link.ask("weights", COPY_SECONDS, path=str(path))
        if not isinstance(file, str):
            yield None
            return
        with ExitStack() as stack:
            stack.callback(self._link.say, "returned", file=file)
            mapped = None
            try:
                descriptor = os.open(file, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE:
                    mapped = Path(f"/proc/self/fd/{descriptor}")
            except OSError as error:
                name, why = path.name, error.strerror
                log.warning("%s is not shared with other workers: %s", name, why)
            yield mapped

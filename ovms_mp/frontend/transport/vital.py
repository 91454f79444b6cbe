"""A thread that serves everybody does not end in silence: if it fails, the process does,
and whoever started it can start another.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

EXIT_CODE: Final = 70
"""Of a process whose thread failed: EX_SOFTWARE of sysexits.h."""


class VitalThread(threading.Thread):
    """Runs `work` once. Whatever that raises is logged and ends the process, at once:
    a server that listens and does not answer is worse than none.
    """

    def __init__(self, work: Callable[[], object], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work

    def run(self) -> None:
        """In the new thread."""
        try:
            self._work()
        except BaseException:
            log.critical("thread %s failed: the process ends", self.name, exc_info=True)
            logging.shutdown()
            os._exit(EXIT_CODE)

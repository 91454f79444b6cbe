"""What a server does when the system, or somebody, sends it a signal."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
RELOAD_SIGNAL: Final = signal.SIGHUP


def heed_signals(
    stop: threading.Event, reload: Sequence[Callable[[], None]] = ()
) -> None:
    """Have `stop` set by the first of STOP_SIGNALS. The second ends the process: whoever
    asks twice does not want to wait. RELOAD_SIGNAL calls all of `reload`, which must not
    block. In the main thread.

    A Python handler is called when the main thread comes back to Python. One that
    blocks just after the signal came does not come back; so a thread reads what the
    interpreter's own handler writes at once.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def watch() -> None:
        while True:
            for number in os.read(reader, 1):
                if number == RELOAD_SIGNAL:
                    for each in reload:
                        each()
                if number not in STOP_SIGNALS:
                    continue
                if stop.is_set():
                    os._exit(1)
                stop.set()

    for number in (*STOP_SIGNALS, RELOAD_SIGNAL):
        signal.signal(number, _leave_it_to_the_thread)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=watch, name="signals", daemon=True).start()


def _leave_it_to_the_thread(number: int, frame: FrameType | None) -> None:
    """Without a handler in Python the interpreter has none either."""

"""A thread that is about to rest takes up what its work has brought about: to wake another
one for that takes as long as many a call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

Call: TypeAlias = Callable[[], object]


class _Spare(threading.local):
    is_there = False
    call: Call | None = None


_here = _Spare()


def work_off(work: Call) -> None:
    """Do `work`, whose thread is then free, and after it the call that was left to it
    meanwhile, also if it raises.
    """
    _here.is_there = True
    try:
        work()
    finally:
        _here.is_there = False
        call, _here.call = _here.call, None
        if call is not None:
            call()


def takes(call: Call) -> bool:
    """True if this thread makes the call when it is done with what it is at. One only:
    what else is to be done may be done at the same time.
    """
    if not _here.is_there or _here.call is not None:
        return False
    _here.call = call
    return True

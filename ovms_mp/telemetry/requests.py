"""What the log says of requests: why one failed, and a line for each if the operator wants
that. Names are the client's: they are quoted, and cut; contents and metadata are not said.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from threading import Lock
from typing import Final

from ovms_mp.telemetry.quota import Quota

FAILED: Final = "ovms_mp.requests"
"""The logger of failures. Its records have a `kind`, by which they are counted."""

FIELDS: Final = "ovms_mp_fields"
"""What a record says, part by part: an attribute of it."""

_failed: Final = logging.getLogger(FAILED)
_access: Final = logging.getLogger("ovms_mp.access")

MAX_NAME: Final = 256
"""Characters of a name that are logged."""
MAX_REASON: Final = 512
"""And of a reason."""

# A client that leaves has failed nobody.
_NO_FAILURES: Final = frozenset({"OK", "CANCELLED", "499"})


_lock: Final = Lock()
_failures: Final[Counter[tuple[str, str]]] = Counter()


def failures() -> dict[tuple[str, str], int]:
    """How many requests of this process have failed, by interface and code."""
    with _lock:
        return dict(_failures)


def failed(interface: str, method: str, servable: str, code: str, reason: str) -> None:
    """A request to a servable, "" for none, was refused, or its servable failed. `code`
    is gRPC's or HTTP's.
    """
    if code in _NO_FAILURES:
        return
    with _lock:
        _failures[interface, code] += 1
    kind = f"{interface} {code}"
    if not _failed.isEnabledFor(logging.INFO) or _is_left_out(kind):
        return
    _failed.info(
        "%s %s%s failed: %s: %s",
        interface,
        method,
        _of(servable),
        code,
        cut(reason, MAX_REASON),
        extra={
            "kind": kind,
            FIELDS: _fields(interface, method, servable, code),
        },
    )


def _is_left_out(kind: str) -> bool:
    """A line that nobody would see costs as much as the rest of a refusal."""
    quotas = [each for each in _failed.filters if isinstance(each, Quota)]
    return any(each.leaves_out(kind) for each in quotas)


def answered(
    interface: str, method: str, servable: str, code: str, seconds: float
) -> None:
    """A request, or a stream, is over, well or not, after so long."""
    took = round(seconds * 1e3, 3)
    _access.info(
        "%s %s%s %s %s ms",
        interface,
        method,
        _of(servable),
        code,
        took,
        extra={FIELDS: {**_fields(interface, method, servable, code), "ms": took}},
    )


def cut(text: str, length: int) -> str:
    """At most so many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _of(servable: str) -> str:
    """In quotes: a name may have blanks, and look like the rest of a line."""
    if not servable:
        return ""
    return f" {json.dumps(cut(servable, MAX_NAME), ensure_ascii=False)}"


def _fields(interface: str, method: str, servable: str, code: str) -> dict[str, object]:
    return {
        "interface": interface,
        "method": method,
        "servable": cut(servable, MAX_NAME),
        "code": code,
    }

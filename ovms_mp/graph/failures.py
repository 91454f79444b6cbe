"""What the failure of a run is called: MediaPipe's texts, in OVMS's status."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ovms_mp.calculator.base import CalculatorError
from ovms_mp.core.errors import ServingError, Status, public_text

if TYPE_CHECKING:
    from ovms_mp.graph.stream import InputStream, StreamError

log = logging.getLogger(__name__)

STUCK_SOURCES = (
    "Detected a deadlock: a source waits for one of a lower layer, whose side packets "
    "will never come"
)


def failed(code: str, message: str) -> ServingError:
    """A run has failed; `code` is absl's, and OVMS has a status of its own for one."""
    details = f"{code}: CalculatorGraph::Run() failed: {message}"
    if code == "FAILED_PRECONDITION":
        return ServingError(Status.MEDIAPIPE_PRECONDITION_FAILED, details)
    return ServingError(Status.MEDIAPIPE_EXECUTION_ERROR, details)


_STATUS_BY_CODE: Final = {
    "DEADLINE_EXCEEDED": Status.DEADLINE_EXCEEDED,
    "UNAVAILABLE": Status.MEDIAPIPE_NODE_UNAVAILABLE,
}


def raised(error: BaseException, method: str, label: str) -> ServingError:
    """A calculator's method raised this, which is logged. One that gives a reason to
    ask again, or to ask for less, is heard with its code; OVMS has none such.
    """
    if not isinstance(error, ServingError | CalculatorError):
        text = 'Calculator::%s() for node "%s" failed'
        log.error(text, method, label, exc_info=error)
    message = f'Calculator::{method}() for node "{label}" failed: {reason(error)}'
    code = error.code if isinstance(error, CalculatorError) else "INTERNAL"
    status = _STATUS_BY_CODE.get(code)
    if status is None:
        return failed(code, message)
    return ServingError(status, f"CalculatorGraph::Run() failed: {message}")


def misfit(error: StreamError) -> ServingError:
    """What was sent does not fit its stream."""
    return failed("INVALID_ARGUMENT", str(error))


def may_not_wait(method: str, label: str) -> ServingError:
    """A calculator called `wait` where nobody waits for it."""
    return failed("INTERNAL", f'Calculator::{method}() for node "{label}" may not wait')


def reason(error: BaseException) -> str:
    """What a client may hear of an exception of a calculator's."""
    if isinstance(error, ServingError):
        return error.text
    if isinstance(error, CalculatorError):
        return public_text(str(error))
    name = type(error).__name__
    try:
        text = public_text(str(error))
    except BaseException:  # an exception of user code, with a __str__ of its own
        text = ""
    return f"{name}: {text}" if text else name


def throttled(queue: InputStream) -> str:
    """Everything waits for a packet that a full queue holds back."""
    return (
        "Detected a deadlock due to input throttling for input stream: "
        f'"{queue.name}" of a node "{queue.node.label}". All calculators are idle while '
        'packet sources remain active and throttled.  Consider adjusting "max_queue_size" '
        'or "report_deadlock".'
    )

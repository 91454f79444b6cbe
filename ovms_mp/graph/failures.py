"""What the failure of a run is called: MediaPipe's texts, in OVMS's status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovms_mp.core.errors import ServingError, Status, public_text

if TYPE_CHECKING:
    from ovms_mp.graph.stream import InputStream

STUCK_SOURCES = (
    "Detected a deadlock: a source waits for one of a lower layer, whose side packets "
    "will never come"
)


def failed(code: str, message: str) -> ServingError:
    """A run has failed; `code` is absl's."""
    details = f"{code}: CalculatorGraph::Run() failed: {message}"
    return ServingError(Status.MEDIAPIPE_EXECUTION_ERROR, details)


def reason(error: BaseException) -> str:
    """What a client may hear of an exception of a calculator's."""
    if isinstance(error, ServingError):
        return error.text
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

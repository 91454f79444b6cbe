"""The open streams of one servable: how many there may be, how long they may last, and
what each may hold.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.stream_policy import StreamPolicy
from ovms_mp.servable.alarms import Alarms
from ovms_mp.telemetry.values import MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovms_mp.core.messages import InferRequest
    from ovms_mp.servable.alarms import Alarm
    from ovms_mp.telemetry.meters import StreamMeter

# What is in a graph when its stream is too old has this long to come out, in seconds.
LAST_ORDERS: Final = 5.0


class Streams:
    """Thread-safe."""

    def __init__(self, name: str, policy: StreamPolicy, meter: StreamMeter) -> None:
        self._name = name
        self._policy = policy
        self._lock = threading.Lock()
        self._count = 0
        self.meter: Final = meter
        """What is counted of them."""
        self.alarms: Final = Alarms()

    def opened(self, first: InferRequest) -> StreamPolicy:
        """Count a stream in; what it may do. Raises ServingError if there are too many
        already, or if the request asks for what it cannot have.
        """
        policy = self._policy.narrowed(first.parameters)
        with self._lock:
            most = self._policy.max_streams
            if most is not None and self._count >= most:
                details = f'"{self._name}" has {most} streams open (max_streams)'
                raise ServingError(Status.RESOURCE_EXHAUSTED, details)
            self._count += 1
        self.meter.open.inc()
        return policy

    def closed(self) -> None:
        """Count a stream out; once."""
        with self._lock:
            self._count -= 1
        self.meter.open.dec()


class Lifetime:
    """How long one stream lasts. `idle` and `old` are called with the reason in the
    alarms' thread; `is_idle` says there whether nothing is on its way.
    """

    __slots__ = (
        "_age",
        "_begun",
        "_idle",
        "_is_over",
        "_last",
        "_on_idle",
        "_on_over",
        "_policy",
        "_streams",
    )

    def __init__(self, streams: Streams, policy: StreamPolicy) -> None:
        self._streams = streams
        self._policy = policy
        self._last = self._begun = monotonic()
        self._idle: Alarm | None = None
        self._age: Alarm | None = None
        self._is_over = False
        self._on_over: Callable[[], object] | None = None

    def when_over(self, call: Callable[[], object]) -> None:
        """Have `call` called at the end, once or twice; at once if that has come."""
        self._on_over = call
        if self._is_over:
            call()

    def begin(
        self,
        on_idle: Callable[[], object],
        on_old: Callable[[ServingError], object],
    ) -> None:
        """Watch. `on_idle` is called when the time is up, and has `check` say what
        follows; `on_old` is told why the stream has to end. A stream that is over is
        not watched.
        """
        if self._is_over:
            return
        self._on_idle = on_idle
        idle, age = self._policy.idle_timeout_seconds, self._policy.max_age_seconds
        if idle is not None:
            self._idle = self._streams.alarms.after(idle, on_idle)
        if age is not None:
            details = f"the stream is older than {age:g} s (max_age_seconds)"
            error = ServingError(Status.DEADLINE_EXCEEDED, details)
            self._age = self._streams.alarms.after(age, lambda: on_old(error))

    def touch(self) -> None:
        """Something has happened on the stream."""
        self._last = monotonic()

    def answered(self) -> None:
        """The first answer leaves; once."""
        seconds = monotonic() - self._begun
        self._streams.meter.first_response.observe(seconds * MICROSECONDS)

    def dropped(self) -> None:
        """A request had to give way to another."""
        self._streams.meter.dropped.inc()

    def cancelled(self) -> None:
        """The stream is over before its end; once."""
        self._streams.meter.cancelled.inc()

    def check(self, *, is_busy: bool) -> ServingError | None:
        """Why an idle stream has to end; None if it goes on, and is watched on."""
        timeout = self._policy.idle_timeout_seconds
        if timeout is None or self._is_over:
            return None
        left = timeout - (monotonic() - self._last)
        if left <= 0 and not is_busy:
            details = f"nothing happened on the stream for {timeout:g} s (idle_timeout_seconds)"
            return ServingError(Status.DEADLINE_EXCEEDED, details)
        again = left if left > 0 else timeout
        self._idle = self._streams.alarms.after(again, self._on_idle)
        return None

    def last_orders(self, call: Callable[[], object]) -> None:
        """Have `call` called if the stream is not over soon."""
        self._age = self._streams.alarms.after(LAST_ORDERS, call)

    def end(self) -> None:
        """The stream is over; once."""
        self._is_over = True
        for alarm in (self._idle, self._age):
            if alarm is not None:
                alarm.cancel()
        self._streams.closed()
        if self._on_over is not None:
            self._on_over()

"""What counts for one thing that is served, found once: what is counted for each request
looks nothing up.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovms_mp.telemetry.values import Counter, Gauge, Histogram

_NANOSECONDS: Final = 1e3
"""In a microsecond."""


class ModelMeter:
    """What counts for one version of a model, found once. `interface` is `gRPC` or
    `REST`; times are in nanoseconds.
    """

    __slots__ = (
        "_cancelled",
        "_fail",
        "_inference_time",
        "_request_time",
        "_success",
        "_wait_time",
    )

    def __init__(
        self,
        success: Mapping[str, Counter],
        fail: Mapping[str, Counter],
        request_time: Mapping[str, Histogram],
        cancelled: Mapping[str, Counter],
        *,
        inference_time: Histogram,
        wait_time: Histogram,
    ) -> None:
        self._success = success
        self._fail = fail
        self._request_time = request_time
        self._cancelled = cancelled
        self._inference_time = inference_time
        self._wait_time = wait_time

    def inferred(self, waited: int, engine: int) -> None:
        """An inference waited this long for a slot, and was this long in OpenVINO."""
        self._wait_time.observe(waited / _NANOSECONDS)
        self._inference_time.observe(engine / _NANOSECONDS)

    def answered(self, interface: str, taken: int) -> None:
        """A request took this long, from its arrival to its answer."""
        self._success[interface].inc()
        self._request_time[interface].observe(taken / _NANOSECONDS)

    def failed(self, interface: str) -> None:
        """A request did not succeed; its time is not counted (as OVMS)."""
        self._fail[interface].inc()

    def cancelled(self, interface: str) -> None:
        """A request that has `failed` did so because nobody waits for it any more."""
        self._cancelled[interface].inc()


class StreamMeter(NamedTuple):
    """What counts for the streams of one servable; `first_response` is in
    microseconds.
    """

    open: Gauge
    first_response: Histogram
    cancelled: Counter
    dropped: Counter


class GraphMeter:
    """What counts for one stream of a graph; each found once, when something is to be
    counted: what is found is shown.
    """

    def __init__(
        self,
        accepted: Callable[[], Counter],
        responses: Callable[[], Counter],
        latency: Callable[[], Histogram] | None,
    ) -> None:
        self._accepted = accepted
        self._responses = responses
        self._latency = latency

    @cached_property
    def accepted(self) -> Counter:
        """Messages whose packets went into the graph."""
        return self._accepted()

    @cached_property
    def responses(self) -> Counter:
        """Answers that left the graph."""
        return self._responses()

    @cached_property
    def latency(self) -> Histogram | None:
        """How long after its request a packet came out, in microseconds; None if nobody
        wants to know.
        """
        return None if self._latency is None else self._latency()

"""Values go through a run and come out in order, a few of them on their way at a time."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from ovms_mp.core.timestamp import UNSTARTED
from ovms_mp.library.run import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from ovms_mp.core.packet import Packet
    from ovms_mp.core.timestamp import Timestamp
    from ovms_mp.library.run import Run


class Timestamped(NamedTuple):
    """The outputs of a graph at one timestamp, by the names of their streams."""

    timestamp: Timestamp
    outputs: dict[str, Any]


class Frames:
    """Collects packets by timestamp; a timestamp is complete when every output stream
    is settled at it.
    """

    def __init__(self, outputs: Iterable[str], window: int) -> None:
        if window < 1:
            raise ValueError("a window is at least 1")
        self._settled = dict.fromkeys(outputs, UNSTARTED)
        self._collected: dict[Timestamp, dict[str, Any]] = {}
        self._window = window

    @property
    def observers(self) -> list[Observer]:
        """One for each output stream."""
        return [self._observer(name) for name in self._settled]

    def _observer(self, name: str) -> Observer:
        def packet(packet: Packet) -> None:
            at = packet.timestamp
            self._collected.setdefault(at, {})[name] = packet.payload
            self._settled[name] = at

        def bound(timestamp: Timestamp) -> None:
            self._settled[name] = timestamp

        return Observer(name, packet, bound)

    def through(
        self,
        start: Callable[[], Run],
        inputs: Mapping[str, Iterable[Any]],
        at: Iterable[Timestamp] | None,
    ) -> Generator[Timestamped]:
        """Feed the inputs, yield what comes. Ends the run in every case."""
        run = start()
        try:
            times = count() if at is None else at
            under_way: list[Timestamp] = []
            for row in zip(times, *inputs.values(), strict=False):
                timestamp, *values = row
                for name, value in zip(inputs, values, strict=True):
                    if value is None:
                        run.skip(name, at=timestamp)
                    else:
                        run.feed(name, value, at=timestamp)
                under_way.append(timestamp)
                yield from self._complete()
                while len(under_way) >= self._window:
                    first = under_way[0]
                    run.wait_for(lambda at=first: self._is_settled(at) or run.is_idle)
                    run.check()
                    yield from self._complete()
                    left = [each for each in under_way if not self._is_settled(each)]
                    # Idle, some graphs settle an output only with what comes next.
                    under_way = [] if run.is_idle else left
            run.close()
            while not run.is_done:
                run.wait_for(self._has_complete)
                yield from self._complete()
            run.wait_done()
            for timestamp in sorted(self._collected):
                yield Timestamped(timestamp, self._collected.pop(timestamp))
        finally:
            if not run.is_done:
                run.cancel()

    def _is_settled(self, timestamp: Timestamp) -> bool:
        return min(self._settled.values(), default=timestamp) >= timestamp

    def _has_complete(self) -> bool:
        # A list at once: another thread may add to what is collected.
        waiting = list(self._collected)
        return bool(waiting) and self._is_settled(min(waiting))

    def _complete(self) -> Iterator[Timestamped]:
        for timestamp in sorted(self._collected):
            if not self._is_settled(timestamp):
                return
            yield Timestamped(timestamp, self._collected.pop(timestamp))

"""What is on its way through a graph, by timestamp: who asked, since when, and how far
the outputs have come. Nothing here waits or knows a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ovms_mp.core.timestamp import UNSTARTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovms_mp.core.packet import Packet
    from ovms_mp.core.timestamp import Timestamp

# Requests that are remembered at a time, where a graph does not say that it is done with
# them: more than any graph has in it, and few enough to cost nothing.
MAX_REMEMBERED: Final = 1024
# Of their ids together, and of one that comes back.
MAX_ID_CHARACTERS: Final = 1 << 20

_UNKNOWN: Final = ("", None)


class Flights:
    """The requests of one stream. A timestamp has landed when every output is settled
    at it, or when nothing in the graph moves.
    """

    __slots__ = ("_aloft", "_bounds", "_characters", "_known", "through")

    def __init__(self, outputs: int) -> None:
        self._bounds: list[Timestamp] = [UNSTARTED] * outputs
        self.through: Timestamp = UNSTARTED
        """All outputs are settled up to here."""
        self._known: dict[Timestamp, tuple[str, float]] = {}
        self._aloft: set[Timestamp] = set()
        self._characters = 0

    def __len__(self) -> int:
        """Timestamps that have not landed."""
        return len(self._aloft)

    @property
    def oldest(self) -> float | None:
        """When the first of those that have not landed arrived. From any thread."""
        aloft = self._aloft
        known = list(self._known.items())
        return next((arrival for at, (_, arrival) in known if at in aloft), None)

    def depart(self, timestamp: Timestamp, request_id: str, arrival: float) -> None:
        """A request's packets are in the graph. Of several at one timestamp the last
        one that has an id gives it.
        """
        known = self._known
        before, since = known.pop(timestamp, ("", arrival))
        self._characters += len(request_id) - len(before) if request_id else 0
        known[timestamp] = (request_id or before, since)
        if timestamp > self.through:
            self._aloft.add(timestamp)
        while len(known) > MAX_REMEMBERED or self._characters > MAX_ID_CHARACTERS:
            self._forget(next(iter(known)))

    def settled(self, output: int, timestamp: Timestamp) -> bool:
        """Nothing at or before `timestamp` will come on the output. True if that moves
        `through`: then `land` follows the answers, which are not in flight any more, so
        that who has read one finds room.
        """
        bounds = self._bounds
        if timestamp <= bounds[output]:
            return False
        bounds[output] = timestamp
        through = min(bounds)
        if through <= self.through:
            return False
        self.through = through
        for departed in self._known:
            if departed > through:
                break
            self._aloft.discard(departed)
        return True

    def land(self) -> None:
        """Forget what is settled; after its answers."""
        known, through = self._known, self.through
        while known and (first := next(iter(known))) <= through:
            self._forget(first)

    def rest(self) -> None:
        """Nothing moves: what has not come so far needs more input."""
        if self._aloft:
            self._aloft.clear()

    def at(self, timestamp: Timestamp) -> tuple[str, float | None]:
        """The id of the request at `timestamp`, and when the first one arrived there, as
        far as they are known.
        """
        return self._known.get(timestamp, _UNKNOWN)

    def _forget(self, timestamp: Timestamp) -> None:
        self._characters -= len(self._known.pop(timestamp)[0])
        self._aloft.discard(timestamp)


class Collected:
    """Packets that wait for the others of their timestamp."""

    __slots__ = ("_packets",)

    def __init__(self) -> None:
        self._packets: dict[Timestamp, list[tuple[int, Packet]]] = {}

    def add(self, output: int, packet: Packet) -> None:
        """One that came."""
        self._packets.setdefault(packet.timestamp, []).append((output, packet))

    def take(
        self, through: Timestamp | None = None
    ) -> Iterator[list[tuple[int, Packet]]]:
        """Those of each timestamp that is complete, in order; all of them, without
        `through`.
        """
        packets = self._packets
        for timestamp in sorted(packets):
            if through is not None and timestamp > through:
                return
            yield sorted(packets.pop(timestamp), key=_output)


def _output(pair: tuple[int, Packet]) -> int:
    return pair[0]

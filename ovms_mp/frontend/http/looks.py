"""What is seen of one process: by its own pages, and by those whose connections came to
another one of several that are one server.

A page that is told by another process does not say when it is closed; who has not asked
for a while does not look any more.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ovms_mp.core.errors import ServingError, public_text
from ovms_mp.frontend.http import sights
from ovms_mp.servable.pulse import MAX_STREAMS, Pulse
from ovms_mp.telemetry.trace import MAX_HAPPENINGS, Recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovms_mp.frontend.http.catalog import Catalog
    from ovms_mp.servable.portrait import Portrait
    from ovms_mp.servable.watching import Watching
    from ovms_mp.telemetry.recent import Recent

Seen = dict[str, Any]

MAX_LISTED: Final = 100
"""Open streams that are told one by one: the oldest."""
FORGOTTEN_SECONDS: Final = 3.0
"""Without a question of another process's page."""


class _Afar(NamedTuple):
    graph: str
    pulse: Pulse
    asked: float


class Looks:
    """Thread-safe. `errors` are the last ones; `number` is that of the process, if it is
    one of `count`.
    """

    def __init__(
        self,
        catalog: Catalog,
        watching: Watching,
        errors: Recent,
        *,
        number: int = 0,
        count: int = 1,
    ) -> None:
        self.number: Final = number
        self._count = count
        self._catalog = catalog
        self._watching = watching
        self._errors = errors
        self._lock = threading.Lock()
        self._afar: dict[str, _Afar] = {}
        self._over = threading.Event()

    def begin(self, graph: str) -> Pulse | None:
        """Somebody looks, at a graph if it has a name, until `end`."""
        pulse = Pulse() if graph else None
        if pulse is not None:
            self._watching.add(pulse, graph)
        return pulse

    def end(self, pulse: Pulse | None) -> None:
        """Not any more."""
        if pulse is not None:
            self._watching.remove(pulse)

    def seen(self, graph: str, pulse: Pulse | None) -> Seen:
        """All that there is to be seen, since the last time."""
        count, streams = self._watching.streams(MAX_LISTED)
        prefix = f"{self.number}." if self._count > 1 else ""
        seen: Seen = {
            "servables": [sights.servable(each) for each in self._catalog.status()],
            "open": count,
            "streams": [
                {**each._asdict(), "number": f"{prefix}{each.number}"}
                for each in streams
            ],
            "errors": [
                {"time": each.time, "text": public_text(each.text)}
                for each in self._errors.failures()
            ],
        }
        if pulse is not None:
            portrait = self._portrait(graph)
            taken = portrait and pulse.take(
                portrait.shape, self._watching.of(portrait.shape, MAX_STREAMS)
            )
            seen["graph"] = taken and sights.pulse(taken)
            seen["mark"] = portrait and portrait.mark
        return seen

    def seen_from_afar(self, viewer: str, graph: str) -> Seen:
        """The same, for one viewer of another process, which asks again soon."""
        with self._lock:
            known = self._afar.get(viewer)
            if known is None or known.graph != graph:
                self._leave(viewer)
                pulse = self.begin(graph)
                known = pulse and _Afar(graph, pulse, 0.0)
            if known is not None:
                if not self._afar:
                    threading.Thread(target=self._forget, daemon=True).start()
                self._afar[viewer] = known._replace(asked=monotonic())
        return self.seen(graph, None if known is None else known.pulse)

    def recorded(self, seconds: float) -> Sequence[bytes]:
        """What all graphs and models do for so long, as events of a trace: of as many
        happenings as this process may keep of all. Blocks.
        """
        recording = Recording(MAX_HAPPENINGS // self._count)
        with self._watching.by(recording):
            self._over.wait(seconds)
        return [*recording.events(self.number)]

    def stop(self) -> None:
        """End what lasts."""
        self._over.set()

    def _portrait(self, graph: str) -> Portrait | None:
        try:
            return self._catalog.describe(graph, "").portrait
        except ServingError:
            return None  # it is not served any more, or not yet

    def _forget(self) -> None:
        while not self._over.wait(FORGOTTEN_SECONDS / 4):
            with self._lock:
                now = monotonic()
                for viewer, known in tuple(self._afar.items()):
                    if now - known.asked > FORGOTTEN_SECONDS:
                        self._leave(viewer)
                if not self._afar:
                    return

    def _leave(self, viewer: str) -> None:
        known = self._afar.pop(viewer, None)
        self.end(known and known.pulse)

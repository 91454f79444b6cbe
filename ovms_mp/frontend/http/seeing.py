"""What the page asks: what there is, how a graph looks, what it does, and a trace of it; of
all processes that are one server, whichever answers.

Nothing is measured but while somebody asks, and who asks is few: see MAX_VIEWERS.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from itertools import count
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.frontend.access import Realm
from ovms_mp.frontend.http import page, sights
from ovms_mp.frontend.http.cors import Cors
from ovms_mp.frontend.http.endpoint import servable_of
from ovms_mp.frontend.http.errors import JSON, Problem, Refusal
from ovms_mp.frontend.http.kserve import told
from ovms_mp.frontend.http.live import Live
from ovms_mp.frontend.http.together import ALONE, Others, together
from ovms_mp.telemetry.trace import chunks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from ovms_mp.frontend.http.catalog import Catalog
    from ovms_mp.frontend.http.endpoint import Handler
    from ovms_mp.frontend.http.looks import Looks
    from ovms_mp.servable.portrait import Portrait
    from ovms_mp.servable.pulse import Pulse

log = logging.getLogger(__name__)

EVERYBODY: Final = Cors()

TRACE_SECONDS: Final = 5.0
"""Of a trace, unless it is asked for another length."""
MAX_TRACE_SECONDS: Final = 30.0
MAX_VIEWERS: Final = 8
"""Pages that are open at a time; others are answered with 503."""

TRACE: Final = "/v1/trace"
GRAPH: Final = "/v1/graphs/{name}"
LIVE: Final = "/v1/live"

REALMS: Final[Mapping[str, Realm]] = {TRACE: Realm.ADMIN, **page.REALMS}


class Seeing:
    """Handlers; for one event loop. `looks` are at this process, `others` beside it."""

    def __init__(
        self,
        catalog: Catalog,
        looks: Looks,
        *,
        has_page: bool,
        cors: Cors = EVERYBODY,
        others: Others = ALONE,
    ) -> None:
        self._cors = cors
        self._catalog = catalog
        self._looks = looks
        self._others = others
        self._has_page = has_page
        self._numbers = count(1)
        self._viewers = 0
        self._is_tracing = False
        self._over = threading.Event()

    def handlers(self) -> Sequence[tuple[str, str, Handler]]:
        """Method, path, and who answers."""
        traces = ("POST", TRACE, self.trace)
        if not self._has_page:
            return [traces]
        pages = [("GET", path, handler) for path, handler in page.handlers()]
        return [
            traces,
            ("GET", GRAPH, self.graph),
            ("GET", LIVE, self.live),
            *pages,
        ]

    def stop(self) -> None:
        """End what lasts, within a second. From any thread."""
        self._over.set()
        self._looks.stop()

    async def trace(self, request: Request) -> Response:
        """All graphs for some seconds, as Perfetto reads it."""
        self._check_origin(request)
        seconds = _seconds(request.query_params.get("seconds"))
        details = "a trace is being recorded already"
        if self._is_tracing:
            raise ServingError(Status.RESOURCE_EXHAUSTED, details)
        self._is_tracing = True
        try:
            own, others = await asyncio.gather(
                run_in_threadpool(self._looks.recorded, seconds),
                run_in_threadpool(self._others.traced, seconds),
            )
            if others is None:
                raise ServingError(Status.RESOURCE_EXHAUSTED, details)
            events = [*own, *(e for each in others.values() for e in each or ())]
            body = await run_in_threadpool(lambda: b"".join(chunks(events)))
        finally:
            self._is_tracing = False
        name = 'attachment; filename="trace.json"'
        return Response(body, headers={"content-disposition": name}, media_type=JSON)

    async def graph(self, request: Request) -> Response:
        """How one looks; `expand=true` has what is in its subgraphs, `within` what is in
        one of them, by its key.
        """
        portrait = self._portrait(servable_of(request)[0])
        expand = request.query_params.get("expand") == "true"
        within = request.query_params.get("within", "")
        drawn = await run_in_threadpool(
            lambda: portrait.drawn(expand=expand, within=within)
        )
        if drawn is None:
            raise Refusal(Problem.INVALID_URL, "the graph has no such subgraph")
        return told(sights.picture(drawn, portrait))

    async def live(self, request: Request) -> Response:
        """Events, twice a second, as long as who asked is there. With `graph` they tell
        of one graph what goes on in it.
        """
        self._check_origin(request)
        graph = request.query_params.get("graph", "")
        if graph:
            self._portrait(graph)
        if self._viewers >= MAX_VIEWERS:
            raise Refusal(Problem.BUSY, f"{MAX_VIEWERS} pages are open")
        pulse = self._looks.begin(graph)
        self._viewers += 1
        viewer = f"{self._looks.number}.{next(self._numbers)}"

        def left() -> None:
            self._viewers -= 1
            self._looks.end(pulse)

        return Live(lambda: self._seen(viewer, graph, pulse), self._over.is_set, left)

    def _seen(self, viewer: str, graph: str, pulse: Pulse | None) -> dict[str, object]:
        looks = self._looks
        others = self._others.seen(viewer, graph)
        return together(looks.number, looks.seen(graph, pulse), others)

    def _check_origin(self, request: Request) -> None:
        """What costs is not for pages that others have made, where origins are named."""
        if not self._cors.allows(request.headers):
            raise Refusal(Problem.ORIGIN_DENIED)

    def _portrait(self, name: str) -> Portrait:
        portrait = self._catalog.describe(name, "").portrait
        if portrait is None:
            raise ServingError(Status.MEDIAPIPE_DEFINITION_NAME_MISSING)
        return portrait


def _seconds(text: str | None) -> float:
    try:
        seconds = TRACE_SECONDS if text is None else float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MAX_TRACE_SECONDS:
        details = f"seconds should be a number, at most {MAX_TRACE_SECONDS:g}"
        raise Refusal(Problem.INVALID_URL, details)
    return seconds

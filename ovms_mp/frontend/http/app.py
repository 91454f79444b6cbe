"""What is answered on the REST port. A path that is no route is 400, a method that a
route does not have 406, with OVMS's texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from ovms_mp.frontend.access import Access, Realm
from ovms_mp.frontend.grpc.places import Places
from ovms_mp.frontend.grpc.quota import UNLIMITED, Quota
from ovms_mp.frontend.http import openapi
from ovms_mp.frontend.http.cors import Cors
from ovms_mp.frontend.http.endpoint import Endpoint, Handler
from ovms_mp.frontend.http.errors import Problem, error_response
from ovms_mp.frontend.http.inference import Inference, Limits
from ovms_mp.frontend.http.kserve import KServe, told
from ovms_mp.frontend.http.management import Management
from ovms_mp.frontend.http.protocol import FULL
from ovms_mp.frontend.http.request import INTERFACE
from ovms_mp.frontend.http.seeing import REALMS as REALMS_OF_SEEING
from ovms_mp.frontend.http.spans import traced
from ovms_mp.frontend.http.streams import Events, Socket
from ovms_mp.frontend.pace import Pace
from ovms_mp.telemetry.page import CONTENT_TYPE
from ovms_mp.telemetry.requests import MAX_NAME, answered, cut, failed

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send

    from ovms_mp.frontend.http.catalog import Catalog, Reload
    from ovms_mp.frontend.http.seeing import Seeing
    from ovms_mp.telemetry.spans import Spans

# Others are refused before anybody looks at the path.
_METHODS: Final = frozenset({"GET", "POST", "OPTIONS"})


STREAMS: Final = tuple(
    f"/v2/models/{{name}}{version}/infer_stream"
    for version in ("", "/versions/{version}")
)


class PageUnavailable(Exception):
    """There is no page of metrics to be had now; the text says why."""


LIMITS: Final = Limits()
EVERYBODY: Final = Cors()
NO_KEYS: Final = Access()
NOTHING_SAID: Final[Mapping[str, int]] = {}

REALMS: Final[Mapping[str, Realm]] = {
    "/v2/health/live": Realm.OPEN,
    "/v2/health/ready": Realm.OPEN,
    "/v2/models/{name}/ready": Realm.OPEN,
    "/v2/models/{name}/versions/{version}/ready": Realm.OPEN,
    "/metrics": Realm.OPEN,
    "/v1/config/reload": Realm.ADMIN,
    "/v1/limits": Realm.ADMIN,
    **REALMS_OF_SEEING,
}
"""Routes that are not INFERENCE."""


class Rest:
    """The ASGI application, for one event loop. `close` when that is over.

    `/metrics` is a route only if there is a `page`, because metrics are enabled (OVMS);
    it may block, and may raise PageUnavailable.
    """

    def __init__(
        self,
        catalog: Catalog,
        reload: Reload,
        version: str,
        *,
        page: Callable[[], bytes] | None = None,
        limits: Limits = LIMITS,
        cors: Cors = EVERYBODY,
        access: Access = NO_KEYS,
        places: Places | None = None,
        quota: Quota = UNLIMITED,
        is_recorded: bool = False,
        settings: Mapping[str, int] = NOTHING_SAID,
        seeing: Seeing | None = None,
        spans: Spans | None = None,
    ) -> None:
        """Each stream has one of `places`, if these are given; what comes by WebSockets
        holds at most `quota` together. With `is_recorded` each request is in the log. `settings` are limits as flags set them, by their names,
        for `/v1/limits`. `seeing` is what the page needs, if there is one. Inferences
        have `spans`, if these are wanted.
        """
        places = places or Places()
        self._inference = Inference(catalog, limits)
        self._management = Management(catalog, reload, settings)
        kserve = KServe(catalog, version)
        route = partial(_route, access, Pace())
        events = Events(catalog, places, self._inference)
        routes = [*_routes(route, kserve, self._inference, events, self._management)]
        if page is not None:
            routes.append(route("GET", "/metrics", _metrics(page)))
        routes.append(route("GET", openapi.PATH, self._show_document))
        self.routes: Final[Sequence[Route]] = routes
        self._seeing = seeing
        shown = [] if seeing is None else [route(*each) for each in seeing.handlers()]
        self._document = openapi.document(routes, version)
        self._headers = [*cors.as_headers()]
        socket = Socket(catalog, places, access, cors, self._inference, quota=quota)
        self.sockets: Final = [WebSocketRoute(path, socket) for path in STREAMS]
        self._app = Starlette(
            routes=[*routes, *shown, *self.sockets],
            exception_handlers={HTTPException: _no_route},
        )
        # A path is a route or it is not; OVMS guesses at none.
        self._app.router.redirect_slashes = False
        self._app.router.default = _lost
        self._answer_one = self._record if is_recorded else self._answer
        if spans is not None:
            self._answer_one = traced(self._answer_one, spans)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every request comes by here."""
        await self._answer_one(scope, receive, send)

    async def _record(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = perf_counter()
        code = 499  # who leaves before there is an answer gets none

        async def hear(message: Message) -> None:
            nonlocal code
            if message["type"] == "websocket.accept":
                code = 101
            elif message["type"].endswith("http.response.start"):
                code = message["status"]
            await send(message)

        method = _asked(scope)
        try:
            await self._answer(scope, receive, hear)
        finally:
            name = unquote(scope.get("path_params", {}).get("name", ""))
            took = perf_counter() - begun
            answered(INTERFACE, method, name, str(code), took)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        if scope["type"] == "websocket":
            scope["path"] = scope["raw_path"].decode("latin-1")
            await self._app(scope, receive, send)
        elif scope.get("state", {}).get(FULL):
            await _refused(Problem.BUSY, scope)(scope, receive, tell)
        elif scope["method"] not in _METHODS:
            await _refused(Problem.UNSUPPORTED_METHOD, scope)(scope, receive, tell)
        elif scope["method"] == "OPTIONS":
            await Response()(scope, receive, tell)
        else:
            # As it came: a name may have slashes in it, which are escaped there.
            scope["path"] = scope["raw_path"].decode("latin-1")
            await self._app(scope, receive, tell)

    async def _show_document(self, request: Request) -> Response:
        return told(self._document)

    def stop(self) -> None:
        """End what would last. From any thread."""
        if self._seeing is not None:
            self._seeing.stop()

    def close(self) -> None:
        """End its threads."""
        self._inference.close()
        self._management.close()


_MakeRoute: TypeAlias = Callable[[str, str, Handler], Route]


def _routes(
    route: _MakeRoute,
    kserve: KServe,
    inference: Inference,
    events: Events,
    management: Management,
) -> Sequence[Route]:
    model = "/v2/models/{name}"
    status = "/v1/models/{name}"
    version = "/versions/{version}"
    return [
        route("GET", "/v2", kserve.server),
        route("GET", "/v2/health/live", kserve.live),
        route("GET", "/v2/health/ready", kserve.ready),
        *(
            each
            for path in (model, model + version)
            for each in (
                route("POST", f"{path}/infer", inference.infer),
                route("POST", f"{path}/infer_stream", events),
                route("GET", f"{path}/ready", kserve.servable_ready),
                route("GET", path, kserve.metadata),
            )
        ),
        route("GET", "/v1/config", management.config),
        route("POST", "/v1/config/reload", management.reload),
        route("GET", "/v1/limits", management.limits),
        route("GET", status, management.servable),
        route("GET", status + version, management.servable),
    ]


def _route(
    access: Access, pace: Pace, method: str, path: str, handler: Handler
) -> Route:
    realm = REALMS.get(path, Realm.INFERENCE)
    endpoint = Endpoint(handler, access, realm, f"{method} {path}", pace=pace)
    return Route(path, endpoint, methods=[method])


def _metrics(page: Callable[[], bytes]) -> Handler:
    async def show(_: Request) -> Response:
        try:
            return Response(await run_in_threadpool(page), media_type=CONTENT_TYPE)
        except PageUnavailable as error:
            return error_response(503, str(error))

    return show


async def _lost(scope: Scope, receive: Receive, send: Send) -> None:
    """No route has the path, or none for WebSockets."""
    await _refused(Problem.INVALID_URL, scope)(scope, receive, send)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # 405: others are `_lost`
    return _refused(Problem.UNSUPPORTED_METHOD, request.scope)


def _refused(problem: Problem, scope: Scope) -> Response:
    """To who is at no route; the log hears of it."""
    code, text = problem.value
    failed(INTERFACE, _asked(scope), "", str(code), text)
    return error_response(code, text)


def _asked(scope: Scope) -> str:
    """Method and path, as far as they are for people."""
    path = scope["raw_path"].decode("latin-1")
    return f"{cut(scope.get('method', 'WebSocket'), MAX_NAME)} {cut(path, MAX_NAME)}"

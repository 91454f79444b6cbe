"""What is answered on the REST port. A path that is no route is 400, a method that a
route does not have 406, with OVMS's texts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ovms_mp.telemetry.page import CONTENT_TYPE

if TYPE_CHECKING:
    from starlette.requests import Request

# Others are refused before anybody looks at the path.
_METHODS: Final = frozenset({"GET", "POST", "OPTIONS"})


class PageUnavailable(Exception):
    """There is no page of metrics to be had now; the text says why."""


def build_app(page: Callable[[], bytes] | None) -> Starlette:
    """The routes. `/metrics` is one only if there is a page, because metrics are enabled
    (OVMS). `page` may block, and may raise PageUnavailable.
    """
    routes: list[Route] = []
    if page is not None:

        def show_metrics(_: Request) -> Response:  # no coroutine: in a thread
            try:
                return Response(page(), media_type=CONTENT_TYPE)
            except PageUnavailable as error:
                return _error(503, str(error))

        routes.append(Route("/metrics", show_metrics, methods=["GET"]))
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _refuse, Exception: _fail},
    )
    # A path is a route or it is not; OVMS guesses at none.
    app.router.redirect_slashes = False
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if request.method not in _METHODS or error.status_code == 405:
        return _error(406, "Unsupported method")
    if error.status_code == 404:
        return _error(400, "Invalid request URL")
    return _error(error.status_code, error.detail)


async def _fail(request: Request, error: Exception) -> Response:
    # Starlette raises `error` again for uvicorn to log; its text is not for clients.
    return _error(500, "Internal server error")


def _error(code: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=code)

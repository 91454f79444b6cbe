"""The page itself: files of the package, read once, which any browser may have; what they
show wants the key. They may load nothing from elsewhere and run nothing that is not here.
"""

from __future__ import annotations

from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from ovms_mp.frontend.access import Realm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request

    from ovms_mp.frontend.http.endpoint import Handler

PAGE: Final = "/ui"

_KINDS: Final[Mapping[str, str]] = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
_INDEX: Final = "index.html"
_NAMES: Final = (
    _INDEX,
    "style.css",
    "icon.svg",
    "app.js",
    "asking.js",
    "elements.js",
    "graph.js",
    "lists.js",
    "request.js",
    "camera.js",
    "timeline.js",
    "values.js",
)
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' blob:; media-src blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-cache",
}
"""Of every file."""


def _path(name: str) -> str:
    return PAGE if name == _INDEX else f"{PAGE}/{name}"


REALMS: Final[Mapping[str, Realm]] = {_path(name): Realm.OPEN for name in _NAMES}


def handlers() -> Iterator[tuple[str, Handler]]:
    """The path of each file, and who answers there."""
    for name in _NAMES:
        yield _path(name), partial(_show, name)


async def _show(name: str, request: Request) -> Response:
    kind = _KINDS[name.rpartition(".")[2]]
    return Response(_content(name), headers=dict(HEADERS), media_type=kind)


@cache
def _content(name: str) -> bytes:
    return files("ovms_mp.frontend.http").joinpath("ui", name).read_bytes()

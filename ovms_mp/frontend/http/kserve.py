"""What clients ask before they send: KServe's v2 protocol but for the inference itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.responses import Response

from ovms_mp.frontend.grpc.inference import SERVER_NAME
from ovms_mp.frontend.http.endpoint import servable_of
from ovms_mp.frontend.http.errors import JSON
from ovms_mp.frontend.http.request import INTERFACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from ovms_mp.core.messages import TensorInfo
    from ovms_mp.frontend.http.catalog import Catalog

EXTENSIONS: Final = ("binary_tensor_data",)


class KServe:
    """Handlers of the v2 paths."""

    def __init__(self, catalog: Catalog, version: str) -> None:
        self._catalog = catalog
        self._version = version

    async def server(self, request: Request) -> Response:
        """OVMS's name, by which its clients know what they talk to, and our version."""
        return told(
            {
                "name": SERVER_NAME,
                "version": self._version,
                "extensions": list(EXTENSIONS),
            }
        )

    async def live(self, request: Request) -> Response:
        """The process answers."""
        return Response(status_code=200)

    async def ready(self, request: Request) -> Response:
        """Whether the server can do now what its configuration says."""
        return Response(status_code=200 if self._catalog.is_ready else 503)

    async def servable_ready(self, request: Request) -> Response:
        """Whether a servable takes requests."""
        is_ready = self._catalog.is_servable_ready(*servable_of(request), INTERFACE)
        return Response(status_code=200 if is_ready else 503)

    async def metadata(self, request: Request) -> Response:
        """What a servable takes and gives."""
        found = self._catalog.metadata(*servable_of(request), INTERFACE)
        document: dict[str, object] = {
            "name": found.name,
            "versions": list(found.versions),
            "platform": found.platform,
            "inputs": _tensors(found.inputs),
            "outputs": _tensors(found.outputs),
        }
        if found.model_info:
            document["rt_info"] = {"model_info": found.model_info}
        return told(document)


def told(document: Any, code: int = 200) -> Response:
    """An answer in JSON."""
    return Response(orjson.dumps(document), code, media_type=JSON)


def _tensors(infos: Sequence[TensorInfo]) -> list[dict[str, object]]:
    return [
        {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)}
        for each in infos
    ]

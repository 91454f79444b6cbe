"""OVMS's management: what became of every servable, and to look at what is mounted now."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from ovms_mp.core.errors import ServingError, Status, public_text
from ovms_mp.core.lifecycle import VersionState
from ovms_mp.frontend.http.endpoint import servable_of
from ovms_mp.frontend.http.errors import outcome_of
from ovms_mp.frontend.http.kserve import told
from ovms_mp.servable.status import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from ovms_mp.frontend.http.catalog import Catalog, Reload
    from ovms_mp.servable.status import Change, Report, ServableStatus, VersionStatus

CONFIG_UNREADABLE: Final = "Config file not found or cannot open."
CONFIG_FAILED: Final = "Reloading config file failed. Check server logs for more info."
VERSIONS_FAILED: Final = (
    "Reloading models versions failed. Check server logs for more info."
)


class Management:
    """Handlers of the v1 paths; for one event loop. `close` when that is over."""

    def __init__(
        self, catalog: Catalog, reload: Reload, settings: Mapping[str, int]
    ) -> None:
        self._catalog = catalog
        self._reload = reload
        self._settings = settings
        self._beside = ThreadPoolExecutor(1, "rest-reload")
        self._running: asyncio.Task[Report] | None = None
        self._next: asyncio.Task[Report] | None = None

    def close(self) -> None:
        """Wait for no reload that runs."""
        self._beside.shutdown(wait=False, cancel_futures=True)

    async def config(self, request: Request) -> Response:
        """What became of everything."""
        return told(self._status())

    async def limits(self, request: Request) -> Response:
        """How much clients may use up, as flags say."""
        return told(self._settings)

    async def servable(self, request: Request) -> Response:
        """What became of one servable, or of one version."""
        name, version = servable_of(request)
        found = self._status().get(name)
        if found is None:
            raise ServingError(Status.MODEL_NAME_MISSING)
        versions = found["model_version_status"]
        if version not in {"", "0"}:
            wanted = str(int(version))
            versions = [each for each in versions if each["version"] == wanted]
            if not versions:
                raise ServingError(Status.MODEL_VERSION_MISSING)
        return told({**found, "model_version_status": versions})

    async def reload(self, request: Request) -> Response:
        """201 if something else is served now, 200 if there was nothing to do. Requests
        that come while one waits share its answer: it has looked after they asked.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
        report = await asyncio.shield(self._next)
        if report.error:
            is_missing = report.status is Status.FILE_INVALID
            text = CONFIG_UNREADABLE if is_missing else CONFIG_FAILED
            error = ServingError(report.status or Status.INTERNAL_ERROR)
            return told({"error": text}, outcome_of(error).code)
        failed = [each for each in report.changes if each.outcome is Outcome.FAILED]
        if failed:
            is_all_models = all(each.kind == "model" for each in failed)
            text = VERSIONS_FAILED if is_all_models else CONFIG_FAILED
            return told({"error": text, "failed": list(map(_failed, failed))}, 500)
        return told(self._status(), 201 if report.has_changed else 200)

    async def _after(self, running: asyncio.Task[Report] | None) -> Report:
        if running is not None:
            await asyncio.wait((running,))
        self._running, self._next = self._next, None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._beside, self._reload)

    def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        # A name that changes its kind is there twice: what serves it counts.
        for each in sorted(self._catalog.status(), key=_is_available):
            found[each.name] = _servable(each)
        return {name: found[name] for name in sorted(found)}


def _is_available(status: ServableStatus) -> bool:
    return any(each.state is VersionState.AVAILABLE for each in status.versions)


def _servable(status: ServableStatus) -> dict[str, Any]:
    versions = [_version(each) for each in status.versions]
    reason = {"reason": public_text(status.reason)} if status.reason else {}
    return {"model_version_status": versions, **reason}


def _version(status: VersionStatus) -> dict[str, Any]:
    """OVMS's, and beside it why the newest files are not served, if they are not."""
    code = status.error_code
    told: dict[str, Any] = {
        "version": str(status.version),
        "state": status.state.name,
        "status": {"error_code": code, "error_message": code},
    }
    if status.reason:
        told["reason"] = public_text(status.reason)
    return told


def _failed(change: Change) -> dict[str, str]:
    return {
        "name": change.name,
        "version": str(change.version),
        "reason": public_text(change.reason),
    }

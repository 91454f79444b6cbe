"""A server process of several on one port: it does what its supervisor says, and tells
it what it serves.

    python -m ovms_mp.worker LINK_FD

Exit codes are those of a server. It ends when the supervisor does.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from ovms_mp.core import heap
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.servable.siblings import Siblings
from ovms_mp.servable.status import Change, Outcome, Report
from ovms_mp.settings import Settings, UsageError, settings_from
from ovms_mp.supervisor.borrowing import Borrower
from ovms_mp.supervisor.channel import ChannelError, Message
from ovms_mp.supervisor.link import Link, SupervisorGone
from ovms_mp.supervisor.neighbours import Neighbours
from ovms_mp.telemetry import page
from ovms_mp.telemetry.logging import logging_to
from ovms_mp.telemetry.page import Page
from ovms_mp.telemetry.trace import numbered, packed

if TYPE_CHECKING:
    from ovms_mp.app import App

log = logging.getLogger("ovms_mp.worker")  # not `__main__`, which it is

PAGE_SECONDS: Final = 5.0
RELOAD_SECONDS: Final = 3600.0
"""For the supervisor to ask all workers."""

# What one worker has changed counts, whatever others had seen before they were asked.
_WEIGHTS: Final = {
    Outcome.UNCHANGED: 0,
    Outcome.SKIPPED: 1,
    Outcome.LOADED: 2,
    Outcome.RELOADED: 3,
    Outcome.REMOVED: 4,
    Outcome.FAILED: 5,
}


def main(arguments: Sequence[str]) -> int:
    """`LINK_FD`: serve until told to stop; returns the exit code."""
    link = Link(int(arguments[0]))
    order = link.first()
    settings = settings_from(order["flags"])
    number = order["number"]
    settings = replace(
        settings,
        port=order["port"],
        rest_port=order["rest_port"],
        trace_path=settings.trace_path and numbered(settings.trace_path, number),
    )
    source = f"worker {number}"
    with logging_to(
        settings.log_level, settings.log_path, source=source, form=settings.log_format
    ):
        try:
            worker = Worker(link, settings, number)
            return worker.serve(listens_first=order["listens_first"])
        except (ServingError, UsageError, OSError) as error:
            log.error("The server cannot start: %s", error)
        except Exception:
            log.exception("The server failed")
        return 1


class Worker:
    """The server in this process, on the supervisor's link."""

    def __init__(self, link: Link, settings: Settings, number: int) -> None:
        self._link = link
        self._number = number
        self._settings = settings
        self._siblings = Siblings()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._app: App | None = None

    def serve(self, *, listens_first: bool) -> int:
        """Serve until the supervisor, or a signal, says stop; returns the exit code."""
        heap.keep()
        # The supervisor may ask if we are alive while OpenVINO is being imported.
        self._link.listen(self._heard, self._answer, self._stop.set)
        from ovms_mp.app import App, Company, leave_behind
        from ovms_mp.signals import heed_signals

        # Who tells one worker to reload means all.
        heed_signals(self._stop, [self._ask_for_reload])
        company = Company(
            self._siblings,
            self._page_of_all,
            self._reload_all,
            listens_first,
            Borrower(self._link).borrowed,
            Neighbours(self._link),
            self._number,
        )
        app = App(self._settings, company)
        app.start()
        if not app.serves_its_purpose:
            app.stop(0)
            return 1
        self._app = app
        app.catalog.watch(self._tell_state)
        self._tell_state()
        self._stop.wait()
        log.info("stopping")
        has_ended = app.stop()
        self._link.say("counted", page=page.to_json(app.metrics.page()))
        if not has_ended:
            leave_behind()
        return 0

    def _ask_for_reload(self) -> None:
        def ask() -> None:
            with suppress(SupervisorGone):
                self._link.ask("reload", RELOAD_SECONDS)

        threading.Thread(target=ask, daemon=True).start()

    def _tell_state(self) -> None:
        assert self._app is not None
        catalog = self._app.catalog
        with self._lock:  # so that the last that is told is the last that was so
            self._link.say(
                "state", is_ready=catalog.is_loaded, servables=catalog.available()
            )

    def _heard(self, message: Message) -> None:
        match message["say"]:
            case "fleet":
                self._siblings.tell(
                    are_ready=message["is_ready"], servables=message["servables"]
                )
            case "stop":
                self._stop.set()
            case other:
                raise ChannelError(f"{other!r} is nothing that a supervisor says")

    def _answer(self, question: Message) -> Any:
        app = self._app
        if app is None:
            raise RuntimeError("it does not serve yet")
        match question["ask"]:
            case "page":
                return page.to_json(app.metrics.page())
            case "reload":
                return _told(app.reload())
            case "seen":
                return app.looks.seen_from_afar(question["viewer"], question["graph"])
            case "trace":
                return {"events": packed(app.looks.recorded(question["seconds"]))}
            case other:
                raise ValueError(f"{other!r} is nothing to ask a worker")

    def _page_of_all(self) -> Page:
        from ovms_mp.frontend.http.app import PageUnavailable

        try:
            return page.from_json(self._link.ask("page", PAGE_SECONDS))
        except SupervisorGone as error:
            raise PageUnavailable(str(error)) from error

    def _reload_all(self) -> Report:
        try:
            return _common(self._link.ask("reload", RELOAD_SECONDS)["workers"])
        except SupervisorGone as error:
            raise ServingError(Status.SERVER_NOT_READY, str(error)) from error


def _told(report: Report) -> dict[str, Any]:
    return {
        "error": report.error,
        "status": report.status and report.status.name,
        "changes": [
            {**asdict(each), "outcome": each.outcome.value} for each in report.changes
        ],
    }


def _common(workers: Mapping[str, Any]) -> Report:
    """The reports of all workers as one: it failed if it failed in one of them."""
    changes: dict[tuple[str, str, int], Change] = {}
    for number, told in workers.items():
        if told is None:
            details = f"worker {number} has not answered"
            raise ServingError(Status.SERVER_NOT_READY, details)
        if told["error"]:
            status = told["status"] and Status[told["status"]]
            return Report(error=told["error"], status=status)
        for each in told["changes"]:
            change = Change(
                each["name"],
                each["kind"],
                each["version"],
                Outcome(each["outcome"]),
                each["reason"],
            )
            key = change.kind, change.name, change.version
            known = changes.get(key)
            if known is None or _WEIGHTS[known.outcome] < _WEIGHTS[change.outcome]:
                changes[key] = change
    return Report(tuple(changes.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

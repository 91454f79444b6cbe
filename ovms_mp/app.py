"""The composition root: every object is built here, once, and started and stopped in an
order that clients can rely on.

Start: names are known before the port is open, so that an early request waits instead of
being told that there is no such thing; loading comes after, beside early requests.
Stop: calls first, then what they use.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ovms_mp import __version__
from ovms_mp.calculator.base import ContractError
from ovms_mp.core import addresses, heap
from ovms_mp.core.errors import ServingError
from ovms_mp.core.threads import Threads
from ovms_mp.doors import Doors
from ovms_mp.frontend.grpc.arguments import arguments
from ovms_mp.frontend.grpc.places import Places
from ovms_mp.frontend.grpc.quota import Quota
from ovms_mp.frontend.grpc.routes import health_of, routes
from ovms_mp.frontend.http.looks import Looks
from ovms_mp.frontend.http.together import ALONE, Others
from ovms_mp.frontend.transport.choice import transport
from ovms_mp.frontend.transport.seam import Server
from ovms_mp.inference.apart import Apart
from ovms_mp.inference.engine import Borrow
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.inference.probe import Probe
from ovms_mp.observing import Observing
from ovms_mp.repository import config as repository
from ovms_mp.repository.config import ModelSpec
from ovms_mp.repository.mirrors import Mirrors
from ovms_mp.repository.snapshot import Scanner
from ovms_mp.servable.calculators import Calculators
from ovms_mp.servable.catalog import Catalog
from ovms_mp.servable.loading import Loader
from ovms_mp.servable.reconciler import Reconciler
from ovms_mp.servable.reloading import Reloader
from ovms_mp.servable.siblings import Siblings
from ovms_mp.servable.status import Report
from ovms_mp.settings import Settings, UsageError
from ovms_mp.signals import heed_signals
from ovms_mp.telemetry.metrics import Metrics
from ovms_mp.telemetry.page import Page, render
from ovms_mp.telemetry.process import resident_bytes
from ovms_mp.telemetry.requests import failures

if TYPE_CHECKING:
    from ovms_mp.frontend.http.app import Rest
    from ovms_mp.frontend.http.server import HttpServer
    from ovms_mp.library.hosting import Registry

log = logging.getLogger(__name__)

# What OVMS gives its calls when it stops; then they are cancelled.
GRACE_SECONDS: Final = 5.0

# For calculators to come to an end whose calls are cancelled.
PATIENCE_SECONDS: Final = 3.0

_SHARED: Final = (("grpc.so_reuseport", 1),)


def compute_threads() -> int:
    """More than cores, as concurrent.futures has: Python nodes may wait for networks."""
    return min(32, (os.cpu_count() or 1) + 4)


@dataclass(frozen=True, slots=True)
class Company:
    """What a process needs to know that shares its ports with others.

    `page` gives the metrics of all; it may block, and raise PageUnavailable. `reload`
    has all look at what is mounted, and blocks until they have; it may raise
    ServingError. One that joins others listens when it has loaded, not before: they
    serve meanwhile. `borrow` has large weights where all can map them. `others` tell
    what they see, and `number` is this one's.
    """

    siblings: Siblings
    page: Callable[[], Page]
    reload: Callable[[], Report]
    listens_first: bool
    borrow: Borrow
    others: Others
    number: int


class App:
    """One server process. `start` and `stop` once each, from one thread."""

    def __init__(self, settings: Settings, company: Company | None = None) -> None:
        """Read the configuration. Raises ServingError, UsageError, or OSError for keys
        and certificates, when it is wrong.
        """
        self._settings = settings
        self._doors = Doors(settings.security, os.environ)
        self._company = company
        # Metrics are what they are at the start (OVMS).
        monitoring = settings.monitoring(
            repository.read(settings.source, settings.security.config_root).metrics
        )
        self.metrics = (
            Metrics(monitoring.families) if monitoring.is_enabled else Metrics.off()
        )
        self.metrics.process_has(resident_bytes, failures, settings.told_limits)
        self._pool = Threads("compute", compute_threads())
        self._retiring = ThreadPoolExecutor(1, "retiring")
        self.observing: Final = Observing(settings)
        self._engine = OpenVINOEngine(
            Probe(settings.cpu_extension) if settings.probe_models else None,
            extension=settings.cpu_extension,
            cache_dir=settings.cache_dir,
            share=1 if company is None else settings.grpc_workers,
            borrow=company and company.borrow,
            apart=Apart(settings.cpu_extension),
        )
        self.catalog = Catalog(
            self.metrics,
            is_latching=settings.readiness == "latched",
            siblings=company and company.siblings,
            dispose=self._retiring.submit,
        )
        loader = Loader(
            self.catalog,
            engine=self._engine,
            submit=self._pool.submit,
            metrics=self.metrics,
            idle_seconds=settings.sequence_idle_seconds,
            watching=self.observing.watching,
        )
        calculators = _calculators(settings)
        self._reloader = Reloader(
            Scanner(
                settings.source,
                settings.calculators_path,
                Mirrors(settings.file_system_poll_wait_seconds),
                settings.security.config_root,
            ),
            Reconciler(self.catalog, loader, calculators, self.metrics),
            poll_seconds=settings.file_system_poll_wait_seconds,
        )
        self._health = health_of(self.catalog)
        self.catalog.watch(self._health.notify)
        if company is not None:
            company.siblings.watch(self._health.notify)
        self.looks: Final = Looks(
            self.catalog,
            self.observing.watching,
            self.observing.errors,
            number=0 if company is None else company.number,
            count=1 if company is None else settings.grpc_workers,
        )
        """What there is to be seen of this process."""
        self._grpc: Server | None = None
        self._http: HttpServer | None = None
        self._rest: Rest | None = None

    @property
    def port(self) -> int:
        """Where gRPC is served, once it is; 1 if its first address is a Unix socket."""
        assert self._grpc is not None
        return self._grpc.ports[0]

    @property
    def rest_port(self) -> int | None:
        """Where HTTP is served, if it is."""
        return None if self._http is None else self._http.port

    def start(self) -> None:
        """Listen, then load. What cannot be loaded is in the log and not in the catalog.

        Raises OSError when an address is taken, ServingError when the configuration
        cannot be read any more. Whatever it raises, the app is stopped.
        """
        listens_first = self._company is None or self._company.listens_first
        try:
            self._reloader.announce()
            if listens_first:
                self._listen()
            self._reloader.load()
            self.catalog.first_load_done()
            if not listens_first:
                self._listen()
            self._reloader.start()
        except BaseException:
            self.stop(0)
            raise
        log.info("serving: %s", ", ".join(self.catalog.available()) or "nothing")

    def check(self) -> Report:
        """Load, and serve nothing: what a start would find. Instead of `start`; raises
        ServingError when the configuration cannot be read any more.
        """
        self._reloader.announce()
        return self._reloader.load()

    def reload(self) -> Report:
        """Make what is served what is mounted now, and tell what came of it. What cannot
        be loaded leaves in place what was there. From any thread; blocks.
        """
        return self._reloader.reload()

    def request_reload(self) -> None:
        """Have it done, and return at once."""
        self._reloader.request()

    def _listen(self) -> None:
        settings, is_shared = self._settings, self._company is not None
        limits = settings.limits
        places, quota = Places(limits.max_streams), Quota(limits.grpc_memory_quota)
        self._grpc = transport(settings.grpc_transport)(
            routes(
                self.catalog,
                self._health,
                __version__,
                self._doors.access,
                places=places,
                quota=quota,
                is_recorded=settings.access_log,
                spans=self.observing.spans,
            ),
            [addresses.text(host, settings.port) for host in settings.bind_addresses],
            max_receive_bytes=settings.grpc_max_message_size,
            max_send_bytes=limits.max_response_size or None,
            tls=self._doors.grpc_tls(),
            options=(
                *arguments(
                    max_metadata_bytes=limits.grpc_max_metadata_size,
                    max_concurrent_streams=limits.grpc_max_concurrent_streams,
                    allows_compression=limits.grpc_compression,
                ),
                *settings.grpc_channel_arguments,
                *(_SHARED if is_shared else ()),
            ),
        )
        self._grpc.start()
        for host, port in zip(settings.bind_addresses, self._grpc.ports, strict=True):
            log.info("gRPC server listening on %s", addresses.text(host, port))
        if settings.rest_port is None:
            return
        # A tenth of the start, and many a server has no REST.
        from ovms_mp.frontend.http.app import Rest
        from ovms_mp.frontend.http.cors import Cors
        from ovms_mp.frontend.http.inference import Limits
        from ovms_mp.frontend.http.seeing import Seeing
        from ovms_mp.frontend.http.server import HttpServer

        hosts, rest = settings.rest_bind_addresses, settings.rest
        said = rest.allowed_origins, rest.allowed_methods, rest.allowed_headers
        cors = Cors(*said, rest.allow_credentials)
        sizes = rest.rest_max_body_size, rest.rest_max_json_size
        self._rest = Rest(
            self.catalog,
            self.reload if self._company is None else self._company.reload,
            __version__,
            page=self._page if self.metrics.is_enabled else None,
            limits=Limits(*sizes, answer=limits.max_response_size),
            access=self._doors.access,
            is_recorded=settings.access_log,
            settings=settings.told_limits,
            cors=cors,
            places=places,
            quota=quota,
            spans=self.observing.spans,
            seeing=Seeing(
                self.catalog,
                self.looks,
                has_page=settings.rest.ui,
                cors=cors,
                others=ALONE if self._company is None else self._company.others,
            ),
        )
        self.observing.begin()
        self._http = HttpServer(
            self._rest,
            hosts,
            settings.rest_port,
            shares_port=is_shared,
            tls=self._doors.rest_tls(),
        )
        self._http.start()
        for host in (addresses.text(host, self._http.port) for host in hosts):
            log.info("REST server listening on %s", host)

    def _page(self) -> bytes:
        if self._company is None:
            return self.metrics.render()
        return render(self.metrics.enabled(self._company.page()))

    @property
    def serves_its_purpose(self) -> bool:
        """False if the server was started for one servable and that failed: then it
        ends, as OVMS does. With a config file it serves what there is.
        """
        source = self._settings.source
        return not isinstance(source, ModelSpec) or (
            source.name in self.catalog.available()
        )

    def stop(self, grace: float = GRACE_SECONDS) -> bool:
        """Refuse new calls, give those in flight `grace` seconds, release everything.

        False if user code that does not return keeps a thread; then what it may still
        use is not released.
        """
        self._health.close()
        self.catalog.stop()
        self._engine.abandon()
        if self._grpc is not None:
            self._grpc.stop(grace)
        self.observing.end()
        if self._rest is not None:
            self._rest.stop()
        if self._http is not None:
            self._http.stop()
        if self._rest is not None:
            self._rest.close()
        self.observing.close()
        if not self._reloader.stop(PATIENCE_SECONDS):
            log.error("something is being loaded still: it is left behind")
            return False
        # Calls are over; what their graphs still have to close is on the pools.
        ending = threading.Thread(target=self._shut_down_pools, daemon=True)
        ending.start()
        ending.join(PATIENCE_SECONDS)
        if ending.is_alive():
            log.error("a calculator or handler does not return: it is left behind")
            return False
        self.catalog.close()
        self._engine.close()
        return True

    def _shut_down_pools(self) -> None:
        self._pool.close()
        self._retiring.shutdown()


def _calculators(settings: Settings) -> Calculators:
    """Those that are installed, and those of a folder. Raises UsageError for a folder
    where a name is there twice.
    """

    def registry() -> Registry:
        # Of no use without graphs, as what they run on.
        from ovms_mp.library.hosting import Registry

        made = Registry.installed()
        if settings.calculators_path is not None:
            made.add_folder(settings.calculators_path)
        return made

    made = Calculators(registry)
    if settings.calculators_path is not None:
        try:
            made.registry()
        except ContractError as error:
            raise UsageError(str(error)) from error
    return made


def run(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM, reload at SIGHUP; returns the exit code. In the main
    thread.
    """
    stop = threading.Event()
    reload: list[Callable[[], None]] = []
    heed_signals(stop, reload)
    heap.keep()
    try:
        app = App(settings)
        app.start()
        reload.append(app.request_reload)
    except (ServingError, OSError) as error:
        log.error("%s", error)
        return 1
    if not app.serves_its_purpose:
        app.stop(0)
        return 1
    stop.wait()
    log.info("stopping")
    if not app.stop():
        leave_behind()
    return 0


def leave_behind() -> None:
    """End the process whose threads do not end: the interpreter would wait for them, and
    nobody knows how long.
    """
    logging.shutdown()
    os._exit(0)

"""Which transport serves: the one that was asked for, if it can."""

from __future__ import annotations

import logging
import time

import grpc

from ovms_mp.frontend.transport.aio import AioServer
from ovms_mp.frontend.transport.core_check import why_not
from ovms_mp.frontend.transport.seam import ServerKind

log = logging.getLogger(__name__)


def transport(wanted: str) -> ServerKind:
    """What makes servers: `core`, or `aio` where that is wanted or `core` cannot be.
    The log says which, and why.
    """
    if wanted != "core":
        log.info("gRPC transport: aio")
        return AioServer
    begin = time.perf_counter()
    if (reason := why_not()) is not None:
        log.warning("gRPC transport: aio, as core does not work: %s", reason)
        return AioServer
    from ovms_mp.frontend.transport.core import CoreServer

    elapsed = (time.perf_counter() - begin) * 1e3
    log.debug("grpcio %s is as core needs it: %.0f ms", grpc.__version__, elapsed)
    log.info("gRPC transport: core")
    return CoreServer

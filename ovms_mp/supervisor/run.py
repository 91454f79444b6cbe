"""The server as a supervisor: it holds the ports and the workers, and nothing that
serves. It loads no engine and no gRPC, so that little can end it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Final

from ovms_mp.settings import Settings
from ovms_mp.supervisor import ports
from ovms_mp.supervisor.channel import Message
from ovms_mp.supervisor.fleet import Fleet

log = logging.getLogger(__name__)

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
RELOAD_SIGNAL: Final = signal.SIGHUP


def run(settings: Settings, flags: Mapping[str, str]) -> int:
    """Serve by workers that are given the same `flags`, until SIGINT or SIGTERM; returns
    the exit code. In the main thread. Raises OSError when an address is taken.
    """
    with ExitStack() as stack:
        port = ports.hold(stack, settings.bind_addresses, settings.port)
        rest_port = settings.rest_port
        if rest_port is not None:
            rest_port = ports.hold(stack, settings.rest_bind_addresses, rest_port)

        def order(number: int, is_first: bool) -> Message:
            return {
                "flags": dict(flags),
                "number": number,
                "port": port,
                "rest_port": rest_port,
                "listens_first": is_first,
            }

        return asyncio.run(_supervise(settings.grpc_workers, order))


async def _supervise(count: int, order: Callable[[int, bool], Message]) -> int:
    fleet = Fleet(count, order)

    def stop() -> None:
        log.info("stopping")
        fleet.stop()

    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    reloads: set[asyncio.Task[object]] = set()

    def reload() -> None:
        task = asyncio.create_task(fleet.reload())
        reloads.add(task)  # a loop keeps no task alive
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(RELOAD_SIGNAL, reload)
    return await fleet.run()

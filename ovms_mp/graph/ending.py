"""When a run ends, every node that was opened is closed, wherever the run is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovms_mp.core.errors import ServingError
    from ovms_mp.graph.scheduler import Scheduler

log = logging.getLogger(__name__)


def close_nodes(scheduler: Scheduler, error: ServingError | None) -> None:
    """Close what is open, wait for nothing; what it sends is dropped."""
    for node in scheduler.nodes:
        context = scheduler.closing(node)
        scheduler.abandon(node)
        for each in node.inputs:
            # A run is rubbish that is found some time later; packets may be large.
            each.packets.clear()
        if context is None:
            continue
        context.error = error
        try:
            node.calculator.close(context)
        except BaseException:  # the run has ended: nobody else is to know
            log.exception('Calculator::Close() for node "%s" failed', node.label)
        scheduler.side_packets.update(node.set_side_packets)

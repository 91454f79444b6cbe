"""The ports that workers share are chosen once, and stay ours while workers come and go.

A socket that is bound with SO_REUSEPORT and does not listen gets no connections; it
keeps the number for those that do, and away from everybody else's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from ovms_mp.core import addresses


def hold(stack: ExitStack, hosts: Sequence[str], port: int) -> int:
    """Bind `port` (0: a free one) of all `hosts` until `stack` is closed; returns it.

    Raises OSError naming the address that somebody else has.
    """
    for host in hosts:
        for address in addresses.resolved(host):
            if port:
                # Another server that shares its ports would not be noticed otherwise,
                # and get half of the calls.
                with addresses.bound(host, address, port) as alone:
                    addresses.listen(alone, host, port)
            held = addresses.bound(host, address, port, is_shared=True)
            port = stack.enter_context(held).getsockname()[1]
    return port

"""What native code has to offer to graphs: the inventory, and the calculator that runs
it. Stands for `ovms_mp.graph.islands.Native`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovms_mp.native.inventory import input_handlers, names, options, problem

if TYPE_CHECKING:
    from ovms_mp.native.island import NativeIslandCalculator

__all__ = ["calculator", "input_handlers", "names", "options", "problem"]


def calculator() -> type[NativeIslandCalculator]:
    """What runs an island; a start without one need not wait for it."""
    from ovms_mp.native.island import NativeIslandCalculator

    return NativeIslandCalculator

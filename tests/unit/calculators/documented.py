"""The pbtxt node that a calculator's module shows in its docstring."""

from __future__ import annotations

import re
from types import ModuleType


def node_of(module: ModuleType) -> str:
    """What stands between the braces of the first `node { … }`."""
    found = re.search(
        r"^    node \{\n(.*?)^    \}\n", module.__doc__ or "", re.MULTILINE | re.DOTALL
    )
    assert found is not None, f"{module.__name__} shows no node"
    return found[1]

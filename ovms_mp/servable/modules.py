"""Python files that the code of a graph imported are imported anew once they changed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def forget(files: Iterable[Path]) -> None:
    """Let the next `import` read these files. Who has imported them keeps what he has.

    Modules that somebody loaded under a name of his own, as handlers are, are his.
    """
    wanted = {file.resolve() for file in files}
    for name, module in tuple(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str):
            continue
        path = Path(file).resolve()
        if path in wanted and _is_named_after(name, path):
            del sys.modules[name]
    for file in wanted:
        # Python looks at seconds only: code compiled from a file of the same size and
        # second would be taken for that of this one.
        with suppress(OSError, NotImplementedError):
            Path(importlib.util.cache_from_source(str(file))).unlink()
    importlib.invalidate_caches()


def _is_named_after(name: str, path: Path) -> bool:
    parts = path.with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    names = tuple(name.split("."))
    return parts[-len(names) :] == names

"""Where `--config_root` says so, nothing that a config names lies elsewhere: not by an
absolute path, not by `..`, and not by a symbolic link. Without it paths are OVMS's, which
may lead anywhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ovms_mp.core.errors import ServingError, Status

if TYPE_CHECKING:
    from collections.abc import Iterable


def ensure_within(root: Path | None, paths: Iterable[Path | None]) -> None:
    """Raises ServingError, PATH_INVALID, for the first of the paths that leads out of
    `root`. That is looked at anew each time, for it may be a link that changes.
    """
    if root is None:
        return
    real = Path(os.path.realpath(root))
    for path in paths:
        if path is not None and not Path(os.path.realpath(path)).is_relative_to(real):
            details = f"{path} leads out of {root} (--config_root)"
            raise ServingError(Status.PATH_INVALID, details)

"""Arguments of commands: what is wrong with them is wrong usage, as with flags."""

from __future__ import annotations

import argparse
from typing import NoReturn

from ovms_mp.settings import UsageError


class Parser(argparse.ArgumentParser):
    """Raises UsageError."""

    def error(self, message: str) -> NoReturn:
        """See ArgumentParser."""
        raise UsageError(f"error parsing options: {message}")

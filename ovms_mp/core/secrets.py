"""What of the server's environment is for the server alone: processes that it starts for
user code, and for models that nobody has tried yet, do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRETS: Final = frozenset(
    {
        "API_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AZURE_STORAGE_CONNECTION_STRING",
        "GOOGLE_APPLICATION_CREDENTIALS",
    }
)
"""The key of clients, and what opens the storage of models."""


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that is started."""
    return {name: value for name, value in environ.items() if name not in SECRETS}

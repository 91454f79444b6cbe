"""What the operator wants: command-line flags, judged once, as one frozen value."""

from ovms_mp.settings.flags import UsageError
from ovms_mp.settings.limits import LimitSettings
from ovms_mp.settings.model import MODEL_FLAGS
from ovms_mp.settings.rest import RestSettings
from ovms_mp.settings.security import SecuritySettings, TlsPaths
from ovms_mp.settings.server import (
    ANY_PORT,
    DEFAULT_PORT,
    EVERYWHERE,
    TRANSPORTS,
    Settings,
    settings_from,
)

__all__ = (
    "ANY_PORT",
    "DEFAULT_PORT",
    "EVERYWHERE",
    "MODEL_FLAGS",
    "TRANSPORTS",
    "LimitSettings",
    "RestSettings",
    "SecuritySettings",
    "Settings",
    "TlsPaths",
    "UsageError",
    "settings_from",
)

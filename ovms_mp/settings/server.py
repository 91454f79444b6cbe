"""What the operator wants: command-line flags, judged once, as one frozen value.

Complaints are in OVMS's words where it has any.

Ports: as in OVMS 2024.0 gRPC is always served, on 9178 unless `--port` says otherwise,
and REST only if `--rest_port` is given and not 0. Either takes `auto` for a free port,
which the log tells; for `--port`, 0 means the same, for gRPC cannot be off.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from ovms_mp.core.addresses import UNIX
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository.config import ModelSpec, MonitoringSpec
from ovms_mp.settings.flags import Flags, UsageError
from ovms_mp.settings.limits import USUAL, LimitSettings, limits
from ovms_mp.settings.model import MODEL_FLAGS, model
from ovms_mp.settings.rest import UNTOLD, RestSettings, rest
from ovms_mp.settings.security import TRUSTING, SecuritySettings, security
from ovms_mp.telemetry.logging import FORMATS, LEVELS

DEFAULT_PORT: Final = 9178
DEFAULT_CACHE: Final = Path("/opt/cache")
MAX_PORT: Final = 65535
ANY_PORT: Final = 0
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  # OVMS's default
GIB: Final = 1 << 30
DEFAULT_CLEANER_MINUTES: Final = 5
# The length of a protobuf message is an int32.
MAX_MESSAGE_SIZE: Final = 2**31 - 1
# Of sockaddr_un, without the zero that ends it.
MAX_UNIX_PATH: Final = 107
# The first unless told otherwise.
TRANSPORTS: Final = ("core", "aio")
READINESS: Final = ("live", "latched")

_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_HOSTNAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that flags decide.

    `source` is a config.json or the single servable. Port 0 stands for a free port;
    `rest_port` None for no REST. `metrics` is None where flags say nothing of them.
    Sizes are in bytes.
    """

    source: Path | ModelSpec
    port: int = DEFAULT_PORT
    bind_addresses: tuple[str, ...] = (EVERYWHERE,)
    rest_port: int | None = None
    rest_bind_addresses: tuple[str, ...] = (EVERYWHERE,)
    grpc_workers: int = 1
    grpc_transport: str = TRANSPORTS[0]
    grpc_max_message_size: int = GIB
    grpc_channel_arguments: tuple[tuple[str, str | int], ...] = ()
    limits: LimitSettings = USUAL
    rest: RestSettings = UNTOLD
    security: SecuritySettings = TRUSTING
    metrics: MonitoringSpec | None = None
    log_level: str = "INFO"
    log_path: Path | None = None
    log_format: str = FORMATS[0]
    access_log: bool = False
    file_system_poll_wait_seconds: int = 1
    readiness: str = READINESS[0]
    sequence_cleaner_poll_wait_minutes: int = DEFAULT_CLEANER_MINUTES
    probe_models: bool = True
    calculators_path: Path | None = None
    cpu_extension: Path | None = None
    cache_dir: Path | None = None
    trace_path: Path | None = None
    otel: bool = False

    @property
    def sequence_idle_seconds(self) -> float | None:
        """After so long without a request a sequence is forgotten; None for never."""
        return 60.0 * self.sequence_cleaner_poll_wait_minutes or None

    @property
    def told_limits(self) -> Mapping[str, int]:
        """How much clients may use up, by the names of the flags."""
        rest = self.rest
        return {
            "grpc_max_message_size": self.grpc_max_message_size,
            "rest_max_body_size": rest.rest_max_body_size,
            "rest_max_json_size": rest.rest_max_json_size,
            **asdict(self.limits),
        }

    def monitoring(self, config: MonitoringSpec | None) -> MonitoringSpec:
        """What flags and the config file together say of metrics.

        Raises UsageError if both speak of them, or metrics have no REST port.
        """
        if self.metrics is not None and config is not None:
            raise UsageError(
                "Metrics configuration duplicated in configuration file and CLI "
                "parameters"
            )
        wanted = self.metrics or config or MonitoringSpec(is_enabled=False)
        if wanted.is_enabled and self.rest_port is None:
            raise UsageError(_METRICS_WITHOUT_REST)
        return wanted


_METRICS_WITHOUT_REST: Final = (
    "rest_port setting is missing, metrics are enabled on rest port"
)


def settings_from(given: Mapping[str, str]) -> Settings:
    """The settings that these flags ask for; names are without `--`, a switch is `true`.

    Raises UsageError; of several complaints the first in OVMS's order.
    """
    flags = Flags(given)
    _check_source(flags)
    grpc_workers = _grpc_workers(flags)
    metrics = _metrics(flags)
    rest_port = _rest_port(flags)
    _check_rest_workers(flags, rest_port)
    port = _port(flags, "port") if flags.text("port") else DEFAULT_PORT
    rest_addresses = _rest_addresses(flags)
    addresses = _grpc_addresses(flags, grpc_workers)
    if port == rest_port != ANY_PORT:
        raise UsageError("port and rest_port cannot have the same values")
    extension = _cpu_extension(flags)
    return Settings(
        source=_source(flags),
        port=port,
        bind_addresses=addresses,
        rest_port=rest_port,
        rest_bind_addresses=rest_addresses,
        grpc_workers=grpc_workers,
        grpc_transport=flags.one_of("grpc_transport", TRANSPORTS, TRANSPORTS[0]),
        grpc_max_message_size=_message_size(flags),
        grpc_channel_arguments=_channel_arguments(flags),
        rest=rest(flags),
        limits=limits(flags),
        security=security(flags),
        metrics=metrics,
        log_level=flags.one_of("log_level", tuple(LEVELS), "INFO"),
        log_path=flags.path("log_path"),
        log_format=flags.one_of("log_format", FORMATS, FORMATS[0]),
        access_log=flags.switch("access_log"),
        file_system_poll_wait_seconds=flags.number("file_system_poll_wait_seconds", 1),
        readiness=flags.one_of("readiness", READINESS, READINESS[0]),
        sequence_cleaner_poll_wait_minutes=flags.number(
            "sequence_cleaner_poll_wait_minutes", DEFAULT_CLEANER_MINUTES
        ),
        probe_models=flags.switch("probe_models", default="true"),
        calculators_path=_calculators_path(flags),
        cpu_extension=extension,
        cache_dir=_cache_dir(flags),
        trace_path=flags.path("trace_path"),
        otel=flags.switch("otel"),
    )


def _check_source(flags: Flags) -> None:
    config, name, path = map(flags.text, ("config_path", "model_name", "model_path"))
    if config and (name or path):
        raise UsageError("Use either config_path or model_path with model_name")
    if not config and not (name and path):
        raise UsageError("Use config_path or model_path with model_name")
    if config and any(map(flags.text, MODEL_FLAGS)):
        raise UsageError("Model parameters in CLI are exclusive with the config file")


def _grpc_workers(flags: Flags) -> int:
    cores = os.cpu_count() or 1
    count = flags.number("grpc_workers", 1)
    if not 1 <= count <= cores:
        raise UsageError(
            f"grpc_workers count should be from 1 to CPU core count : {cores}"
        )
    return count


def _metrics(flags: Flags) -> MonitoringSpec | None:
    is_enabled = flags.switch("metrics_enable")
    names = flags.text("metrics_list")
    if is_enabled and _rest_port(flags) is None:
        raise UsageError(_METRICS_WITHOUT_REST)
    if names and not is_enabled:
        raise UsageError(
            "metrics_enable setting is missing, required when metrics_list is provided"
        )
    if not is_enabled:
        return None
    families = tuple(name.strip() for name in names.split(",") if name.strip())
    return MonitoringSpec(is_enabled, families or None)


def _check_rest_workers(flags: Flags, rest_port: int | None) -> None:
    if not 2 <= flags.number("rest_workers", 2) <= 10000:
        raise UsageError("rest_workers count should be from 2 to 10000")
    if flags.text("rest_workers") and rest_port is None:
        raise UsageError(
            "rest_workers is set but rest_port is not set. "
            "rest_port is required to start rest servers"
        )


def _rest_port(flags: Flags) -> int | None:
    return None if flags.text("rest_port") in ("", "0") else _port(flags, "rest_port")


def _port(flags: Flags, name: str) -> int:
    if flags.text(name) == "auto":
        return ANY_PORT
    port = flags.number(name, ANY_PORT)
    if port > MAX_PORT:
        raise UsageError(f"{name} number out of range from 0 to {MAX_PORT}")
    return port


def _grpc_addresses(flags: Flags, workers: int) -> tuple[str, ...]:
    name = "grpc_bind_address"
    parts = (flags.text(name) or EVERYWHERE).split(",")
    sockets = [part for part in parts if part.startswith(UNIX)]
    for path in (part.removeprefix(UNIX) for part in sockets):
        if not path.startswith("/") or len(os.fsencode(path)) > MAX_UNIX_PATH:
            raise UsageError(
                f"{name} should have a Unix socket as unix:/path, of at most"
                f" {MAX_UNIX_PATH} bytes, not {UNIX + path!r}"
            )
    if sockets and workers > 1:
        raise UsageError(f"{name}: workers cannot share a Unix socket: {sockets[0]}")
    _check_hosts(name, [part for part in parts if part not in sockets])
    return tuple(parts)


def _rest_addresses(flags: Flags) -> tuple[str, ...]:
    hosts = (flags.text("rest_bind_address") or EVERYWHERE).split(",")
    _check_hosts("rest_bind_address", hosts)
    return tuple(hosts)


def _check_hosts(name: str, hosts: list[str]) -> None:
    if not all(map(_is_host, hosts)):
        raise UsageError(
            f"{name} has invalid format: proper hostname or IP address expected."
        )


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        # A last label of digits is a mistyped address: no top-level domain is one.
        is_name = _HOSTNAME.fullmatch(text) and not text.rpartition(".")[2].isdigit()
        return bool(is_name) and len(text) <= 255
    return True


def _cpu_extension(flags: Flags) -> Path | None:
    extension = flags.path("cpu_extension")
    if extension is not None and not extension.exists():
        raise UsageError(
            "File path provided as an --cpu_extension parameter does not exist in the "
            f"filesystem: {extension}"
        )
    return extension and extension.absolute()


def _cache_dir(flags: Flags) -> Path | None:
    """The flag, or OVMS's own directory if that is there to be written to."""
    given = flags.path("cache_dir")
    if given is None:
        is_there = DEFAULT_CACHE.is_dir() and os.access(DEFAULT_CACHE, os.W_OK)
        return DEFAULT_CACHE if is_there else None
    if given.exists() and not given.is_dir():
        raise UsageError(f"cache_dir should be a directory, not {str(given)!r}")
    return given.absolute()


def _calculators_path(flags: Flags) -> Path | None:
    path = flags.path("calculators_path")
    if path is not None and not path.is_dir():
        raise UsageError(f"calculators_path should be a directory, not {str(path)!r}")
    return path


def _message_size(flags: Flags) -> int:
    size = flags.number("grpc_max_message_size", GIB)
    if not 1 <= size <= MAX_MESSAGE_SIZE:
        raise UsageError(
            f"grpc_max_message_size should be from 1 to {MAX_MESSAGE_SIZE}"
        )
    return size


def _channel_arguments(flags: Flags) -> tuple[tuple[str, str | int], ...]:
    text = flags.text("grpc_channel_arguments")
    arguments: list[tuple[str, str | int]] = []
    for part in text.split(",") if text else ():
        name, separator, value = part.partition("=")
        if not (separator and name and value):
            raise UsageError(
                f"grpc_channel_arguments should be name=value,name=value, not {text!r}"
            )
        is_number = value.isascii() and value.isdigit()
        arguments.append((name.strip(), int(value) if is_number else value))
    return tuple(arguments)


def _source(flags: Flags) -> Path | ModelSpec:
    config = flags.path("config_path")
    if config is not None:
        return config
    try:
        return model(flags)
    except ServingError as error:
        raise UsageError(
            error.details if error.status is Status.JSON_INVALID else error.text
        ) from error

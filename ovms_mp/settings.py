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
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ovms_mp.core.addresses import UNIX
from ovms_mp.core.errors import ServingError
from ovms_mp.repository import document
from ovms_mp.repository.config import (
    MAX_NIREQ,
    ModelSpec,
    MonitoringSpec,
    graph_home,
    local_path,
)
from ovms_mp.repository.document import Node
from ovms_mp.repository.schema import (
    DEFAULT_DEVICE,
    DEFAULT_MAX_SEQUENCES,
    parse_plugin_config,
)
from ovms_mp.repository.versions import DEFAULT_POLICY, parse_policy
from ovms_mp.telemetry.logging import LEVELS

DEFAULT_PORT: Final = 9178
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

# What says something of the single model; with a config file these are in the file.
MODEL_FLAGS: Final = (
    "batch_size",
    "shape",
    "layout",
    "mean",
    "scale",
    "color_format",
    "precision",
    "model_version_policy",
    "nireq",
    "max_queue_length",
    "target_device",
    "plugin_config",
    "stateful",
    "idle_sequence_cleanup",
    "low_latency_transformation",
    "max_sequence_number",
)
_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_HOSTNAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)


class UsageError(Exception):
    """The flags contradict themselves or this machine; the message is for stderr."""


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
    metrics: MonitoringSpec | None = None
    log_level: str = "INFO"
    log_path: Path | None = None
    file_system_poll_wait_seconds: int = 1
    readiness: str = READINESS[0]
    sequence_cleaner_poll_wait_minutes: int = DEFAULT_CLEANER_MINUTES
    probe_models: bool = True
    calculators_path: Path | None = None

    @property
    def sequence_idle_seconds(self) -> float | None:
        """After so long without a request a sequence is forgotten; None for never."""
        return 60.0 * self.sequence_cleaner_poll_wait_minutes or None

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
    flags = _Flags(given)
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
    _check_cpu_extension(flags)
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
        metrics=metrics,
        log_level=flags.one_of("log_level", tuple(LEVELS), "INFO"),
        log_path=flags.path("log_path"),
        file_system_poll_wait_seconds=flags.number("file_system_poll_wait_seconds", 1),
        readiness=flags.one_of("readiness", READINESS, READINESS[0]),
        sequence_cleaner_poll_wait_minutes=flags.number(
            "sequence_cleaner_poll_wait_minutes", DEFAULT_CLEANER_MINUTES
        ),
        probe_models=flags.switch("probe_models", default="true"),
        calculators_path=_calculators_path(flags),
    )


class _Flags:
    """Flags by their names, read as what they should be. Each method raises UsageError
    if the flag is not that.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def text(self, name: str) -> str:
        """The flag as it was written; an empty one counts as not given (OVMS)."""
        return self._given.get(name, "")

    def number(self, name: str, default: int) -> int:
        text = self.text(name) or str(default)
        # 2^63 has 19 digits: no sensible number has more.
        if not (text.isascii() and text.isdigit() and len(text) <= 19):
            raise UsageError(f"{name} should be a number without sign, not {text!r}")
        return int(text)

    def switch(self, name: str, *, default: str = "false") -> bool:
        text = self.text(name) or default
        if text.lower() not in _BOOLEANS:
            raise UsageError(f"{name} should be true or false, not {text!r}")
        return _BOOLEANS[text.lower()]

    def path(self, name: str) -> Path | None:
        text = self.text(name)
        return Path(text) if text else None

    def one_of(self, name: str, known: tuple[str, ...], default: str) -> str:
        text = self.text(name) or default
        if text not in known:
            raise UsageError(f"{name} should be one of: {', '.join(known)}")
        return text


def _check_source(flags: _Flags) -> None:
    config, name, path = map(flags.text, ("config_path", "model_name", "model_path"))
    if config and (name or path):
        raise UsageError("Use either config_path or model_path with model_name")
    if not config and not (name and path):
        raise UsageError("Use config_path or model_path with model_name")
    if config and any(map(flags.text, MODEL_FLAGS)):
        raise UsageError("Model parameters in CLI are exclusive with the config file")


def _grpc_workers(flags: _Flags) -> int:
    cores = os.cpu_count() or 1
    count = flags.number("grpc_workers", 1)
    if not 1 <= count <= cores:
        raise UsageError(
            f"grpc_workers count should be from 1 to CPU core count : {cores}"
        )
    return count


def _metrics(flags: _Flags) -> MonitoringSpec | None:
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


def _check_rest_workers(flags: _Flags, rest_port: int | None) -> None:
    if not 2 <= flags.number("rest_workers", 2) <= 10000:
        raise UsageError("rest_workers count should be from 2 to 10000")
    if flags.text("rest_workers") and rest_port is None:
        raise UsageError(
            "rest_workers is set but rest_port is not set. "
            "rest_port is required to start rest servers"
        )


def _rest_port(flags: _Flags) -> int | None:
    return None if flags.text("rest_port") in ("", "0") else _port(flags, "rest_port")


def _port(flags: _Flags, name: str) -> int:
    if flags.text(name) == "auto":
        return ANY_PORT
    port = flags.number(name, ANY_PORT)
    if port > MAX_PORT:
        raise UsageError(f"{name} number out of range from 0 to {MAX_PORT}")
    return port


def _grpc_addresses(flags: _Flags, workers: int) -> tuple[str, ...]:
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


def _rest_addresses(flags: _Flags) -> tuple[str, ...]:
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


def _check_cpu_extension(flags: _Flags) -> None:
    extension = flags.path("cpu_extension")
    if extension is not None and not extension.exists():
        raise UsageError(
            "File path provided as an --cpu_extension parameter does not exist in the "
            f"filesystem: {extension}"
        )


def _calculators_path(flags: _Flags) -> Path | None:
    path = flags.path("calculators_path")
    if path is not None and not path.is_dir():
        raise UsageError(f"calculators_path should be a directory, not {str(path)!r}")
    return path


def _message_size(flags: _Flags) -> int:
    size = flags.number("grpc_max_message_size", GIB)
    if not 1 <= size <= MAX_MESSAGE_SIZE:
        raise UsageError(
            f"grpc_max_message_size should be from 1 to {MAX_MESSAGE_SIZE}"
        )
    return size


def _channel_arguments(flags: _Flags) -> tuple[tuple[str, str | int], ...]:
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


def _source(flags: _Flags) -> Path | ModelSpec:
    config = flags.path("config_path")
    if config is not None:
        return config
    try:
        return _model(flags)
    except ServingError as error:
        raise UsageError(error.details) from error


def _model(flags: _Flags) -> ModelSpec:
    name = Node(flags.text("model_name"), "--model_name").text()
    path = Node(flags.text("model_path"), "--model_path").text()
    try:
        base_path = local_path(path, Path.cwd())
    except ServingError as error:
        raise UsageError(f"--model_path: {error.details}") from error
    used = [f for f in MODEL_FLAGS if flags.text(f) and f != "plugin_config"]
    if used and graph_home(base_path) is not None:
        raise UsageError(
            f"Starting mediapipe graph with unsupported model settings: "
            f"{', '.join(used)}. The settings should be set in subconfig.json file."
        )
    nireq = flags.number("nireq", 0)
    if nireq > MAX_NIREQ:
        raise UsageError(f"Nireq parameter too high: {nireq}, at most {MAX_NIREQ}")
    policy = _json(flags, "model_version_policy")
    plugin_config = _json(flags, "plugin_config")
    return ModelSpec(
        name,
        base_path,
        parse_policy(policy) if policy else DEFAULT_POLICY,
        nireq or None,
        flags.text("target_device") or DEFAULT_DEVICE,
        parse_plugin_config(plugin_config) if plugin_config else {},
        max_sequence_number=flags.number("max_sequence_number", DEFAULT_MAX_SEQUENCES),
        idle_sequence_cleanup=flags.switch("idle_sequence_cleanup", default="true"),
        max_queue_length=flags.number("max_queue_length", 0)
        if flags.text("max_queue_length")
        else None,
    )


def _json(flags: _Flags, name: str) -> Node | None:
    text = flags.text(name)
    return document.parse(os.fsencode(text), f"--{name}") if text else None

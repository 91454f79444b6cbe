"""Every flag of OVMS is known here: it works, has no effect that could be missed, or is
refused because ignoring it would change answers.

Exit codes are OVMS's: 0 after `--help`, `--version`, a change of the config and a clean
stop, 64 for wrong usage, 1 when that fails or the server cannot start.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NoReturn

from ovms_mp import __version__
from ovms_mp.commands import environment, managing, programs
from ovms_mp.core.errors import ServingError
from ovms_mp.settings import Settings, UsageError, settings_from
from ovms_mp.telemetry.logging import logging_to

EX_USAGE: Final = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag by its name without `--`; a switch if it has no `metavar`."""

    name: str
    metavar: str
    help: str = ""


_THE_CONFIG: Final = "the config file, and no server"
_GROUPS: Final[Mapping[str, tuple[Flag, ...]]] = {
    "what to serve": (
        Flag("config_path", "FILE", "config.json naming models and graphs"),
        Flag("model_name", "NAME", "name of a single model or graph"),
        Flag("model_path", "PATH", "its directory, or a model file"),
        Flag("calculators_path", "DIR", "Python modules with calculators for graphs"),
        Flag("config_root", "DIR", "nothing that the config names lies elsewhere"),
        Flag("cpu_extension", "FILE", "a library with further operations of models"),
        Flag("cache_dir", "DIR", "compiled models are kept there for the next start"),
        Flag(
            "probe_models", "true|false", "read models in a child first, default true"
        ),
        Flag(
            "sequence_cleaner_poll_wait_minutes",
            "MINUTES",
            "idle sequences are forgotten after so long, default 5; 0: never",
        ),
    ),
    "changes of what is mounted": (
        Flag(
            "file_system_poll_wait_seconds",
            "SECONDS",
            "how often files are looked at, default 1; 0: only when SIGHUP comes",
        ),
        Flag(
            "readiness",
            "live|latched",
            "ready while all is served (default), or for ever after the first load",
        ),
    ),
    "the single model": (
        Flag("model_version_policy", "JSON", 'default {"latest": {"num_versions": 1}}'),
        Flag("target_device", "DEVICE", "OpenVINO device, default CPU"),
        Flag("nireq", "N", "infer requests; default: what the device finds optimal"),
        Flag("max_queue_length", "N", "inferences that may wait for it, default 1000"),
        Flag("plugin_config", "JSON", "properties of the OpenVINO device"),
        Flag("batch_size", "N", "a number, -1, a range as 1:8, or auto"),
        Flag("shape", "SHAPE", "as (1,3,-1,200:500), auto, or JSON by inputs"),
        Flag("layout", "LAYOUT", "as NHWC:NCHW (clients': model's), or JSON by names"),
        Flag("mean", "VALUES", "subtracted from the input: a number, or [r,g,b]"),
        Flag("scale", "VALUES", "what the input is then divided by"),
        Flag("color_format", "FROM:TO", "as BGR:RGB, clients' and the model's"),
        Flag("precision", "FROM:TO", "as uint8:fp32, clients' and the model's"),
        Flag("max_sequence_number", "N", "sequences of a stateful model, default 500"),
        Flag("idle_sequence_cleanup", "", "forget idle sequences, default true"),
        Flag("stateful", "", "allows low_latency_transformation"),
        Flag("low_latency_transformation", "", "what loops remember becomes a state"),
        Flag("max_batch_size", "N", "rows of requests that are inferred together"),
        Flag("max_queue_delay_microseconds", "N", "they wait for others, default 0"),
    ),
    "gRPC": (
        Flag("port", "PORT", "default 9178; 0 or auto: a free one, told in the log"),
        Flag(
            "grpc_bind_address",
            "ADDRESSES",
            "hosts and unix:/paths, comma-separated, default 0.0.0.0",
        ),
        Flag("grpc_workers", "N", "server processes on the port, default 1"),
        Flag("grpc_transport", "NAME", "core (default) or aio"),
        Flag("grpc_max_message_size", "BYTES", "largest request, default 1 GiB"),
        Flag("grpc_memory_quota", "BYTES", "of all requests, default 2 GiB; 0: any"),
        Flag("grpc_max_metadata_size", "BYTES", "of a call, default 16 KiB"),
        Flag("grpc_max_concurrent_streams", "N", "calls of a connection, default any"),
        Flag("grpc_compression", "", "clients may send compressed messages"),
        Flag("max_streams", "N", "streams open at a time, default 1000; 0: any"),
        Flag("max_response_size", "BYTES", "of either port, default 256 MiB; 0: any"),
        Flag("grpc_channel_arguments", "NAME=VALUE,...", "options of the gRPC server"),
    ),
    "REST and metrics": (
        Flag("rest_port", "PORT", "default off; auto: a free one, told in the log"),
        Flag("rest_bind_address", "HOSTS", "comma-separated, default 0.0.0.0"),
        Flag("rest_max_body_size", "BYTES", "largest request, default 1 GiB"),
        Flag("rest_max_json_size", "BYTES", "of it in JSON, default 64 MiB"),
        Flag("allowed_origins", "ORIGINS", "for browsers of other sites, default *"),
        Flag("allowed_methods", "METHODS", "the same"),
        Flag("allowed_headers", "HEADERS", "the same"),
        Flag("allow_credentials", "", "browsers may send credentials"),
        Flag("ui", "true|false", "serve the page /ui on the REST port, default true"),
        Flag("metrics_enable", "", "serve /metrics on the REST port"),
        Flag("metrics_list", "NAMES", "comma-separated families, default OVMS's"),
    ),
    "keys and certificates": (
        Flag("api_key_file", "FILE", "a key a line; clients of any API show one"),
        Flag("admin_api_key_file", "FILE", "the same, for changing what is served"),
        *(
            Flag(f"{port}_{name}_path", "FILE", f"{what} of the {port} port, PEM")
            for port in ("grpc", "rest")
            for name, what in (
                ("certificate", "chain"),
                ("key", "key"),
                ("ca", "roots of clients' certificates"),
            )
        ),
    ),
    "traces": (
        Flag("trace_path", "FILE", "what graphs did last, for Perfetto, at the end"),
        Flag("otel", "", "spans for OpenTelemetry, where OTEL_... variables say"),
    ),
    "log": (
        Flag("log_level", "LEVEL", "TRACE, DEBUG, INFO (default), WARNING or ERROR"),
        Flag("log_path", "FILE", "log there as well as to standard output"),
        Flag("log_format", "text|json", "lines as OVMS's (default), or JSON"),
        Flag("access_log", "", "a line for each request"),
    ),
    _THE_CONFIG: (
        Flag("add_to_config", "", "name a model or graph in the config file"),
        Flag("remove_from_config", "", "have it named there no more"),
        Flag("list_models", "", "print what lies in a repository"),
        Flag("model_repository_path", "DIR", "where models and graphs lie by name"),
    ),
}

_NO_GENERATION: Final = "there is no generative API"
# Flags of OVMS whose absence changes no answer, and why.
_IN_VAIN: Final[Mapping[Flag, str]] = {
    Flag("grpc_max_threads", "N"): "calls occupy no threads",
    Flag("rest_workers", "N"): "requests occupy no threads",
    Flag("custom_node_resources_cleaner_interval_seconds", "SECONDS"): (
        "there are no custom nodes yet"
    ),
    Flag("verbose_response", ""): _NO_GENERATION,
    Flag("allowed_media_domains", "NAMES"): _NO_GENERATION,
    Flag("allowed_local_media_path", "PATH"): _NO_GENERATION,
}
# Flags that would change answers, and the values that change none.
_UNSUPPORTED: Final[Mapping[Flag, tuple[str, ...]]] = {}
# Flags that ask for something else than a server.
_OTHER_MODES: Final = (
    Flag("pull", ""),
    Flag("configure", ""),
    Flag("source_model", "NAME"),
    Flag("source_loras", "NAMES"),
    Flag("gguf_filename", "NAME"),
    Flag("overwrite_models", ""),
    Flag("weight-format", "NAME"),
    Flag("extra_quantization_params", "PARAMS"),
    Flag("task", "NAME"),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"error parsing options: {message}")


def main(
    argv: Sequence[str] | None = None,
    run: Callable[[Settings], int] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Serve what `argv` and `environ` say until stopped; returns the exit code.

    `run` serves; without one it is that of `ovms_mp.app`, or of `ovms_mp.supervisor`.
    """
    arguments = sys.argv[1:] if argv is None else argv
    parser = _parser()
    try:
        if arguments and arguments[0] in programs.PROGRAMS:
            return programs.run(arguments)
        said = _parse(parser, arguments)
        given = environment.completed(said, _of_the_environment(), environ)
        nothing_is_said = not said and not any(map(given.get, environment.SOURCES))
        if nothing_is_said or "help" in given:
            print(parser.format_help(), end="")
            return 0
        if "version" in given:
            print(f"ovms_mp {__version__}")
            return 0
        if managing.is_wanted(said):
            return managing.run(environment.with_config(said, environ))
        settings = _settings(given)
    except UsageError as error:
        print(error, file=sys.stderr)
        return EX_USAGE
    try:
        with logging_to(
            settings.log_level, settings.log_path, form=settings.log_format
        ):
            _log_what_is_missing(given)
            return _serve(settings, run or partial(_run, given))
    except OSError as error:
        print(f"log_path cannot be written: {error}", file=sys.stderr)
        return 1


def _parser() -> _Parser:
    parser = _Parser(
        prog="ovms-mp",
        description="Serves MediaPipe graphs and OpenVINO models over KServe v2.",
        usage="%(prog)s (--config_path FILE | --model_name NAME --model_path PATH) ...\n"
        f"       %(prog)s ({' | '.join(programs.PROGRAMS)}) ...",
        add_help=False,
        allow_abbrev=False,
    )
    about = parser.add_argument_group("about")
    about.add_argument("-h", "--help", action="store_const", const="true")
    about.add_argument("--version", action="store_const", const="true")
    groups = {
        **_GROUPS,
        "accepted without effect": tuple(
            replace(flag, help=why) for flag, why in _IN_VAIN.items()
        ),
        "not supported": (*_UNSUPPORTED, *_OTHER_MODES),
    }
    for title, flags in groups.items():
        group = parser.add_argument_group(title)
        for flag in flags:
            # Every value stays text. OVMS's switches take one too: --pull=true.
            group.add_argument(
                f"--{flag.name}",
                dest=flag.name,
                metavar=flag.metavar or "true|false",
                help=flag.help,
                nargs=None if flag.metavar else "?",
                const=None if flag.metavar else "true",
            )
    return parser


def _of_the_environment() -> list[str]:
    """Flags that say how to serve."""
    groups = [flags for title, flags in _GROUPS.items() if title != _THE_CONFIG]
    return [flag.name for flags in (*groups, _IN_VAIN, _UNSUPPORTED) for flag in flags]


def _parse(parser: _Parser, arguments: Sequence[str]) -> dict[str, str]:
    values: dict[str, str | None] = vars(parser.parse_args(arguments))
    return {name: value for name, value in values.items() if value is not None}


def _settings(given: Mapping[str, str]) -> Settings:
    for flag in _OTHER_MODES:
        if flag.name in given:
            raise UsageError(f"--{flag.name} is not supported in this version")
    settings = settings_from(given)
    for flag, harmless in _UNSUPPORTED.items():
        if given.get(flag.name, "") not in harmless:
            raise UsageError(f"--{flag.name} is not supported in this version")
    return settings


def _log_what_is_missing(given: Mapping[str, str]) -> None:
    for flag, why in _IN_VAIN.items():
        if flag.name in given:
            log.warning("--%s has no effect: %s", flag.name, why)


def _serve(settings: Settings, run: Callable[[Settings], int]) -> int:
    try:
        return run(settings)
    except (ServingError, UsageError, OSError) as error:
        log.error("The server cannot start: %s", error)
    except Exception:
        log.exception("The server failed")
    return 1


def _run(given: Mapping[str, str], settings: Settings) -> int:
    # Here, so that --help and wrong usage need not wait for OpenVINO and gRPC, which the
    # supervisor of several workers never loads.
    if settings.grpc_workers > 1:
        from ovms_mp.supervisor import run

        return run.run(settings, given)
    # Modules stay for good: not to look for rubbish among them is a twentieth of the start,
    # and of a later look, which everybody waits for, the most.
    gc.disable()
    from ovms_mp import app

    gc.freeze()
    gc.enable()
    return app.run(settings)

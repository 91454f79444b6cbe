"""From flags to settings, with OVMS's complaints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ovms_mp.repository.config import DynamicBatching, ModelSpec, MonitoringSpec
from ovms_mp.repository.versions import All
from ovms_mp.settings import Settings, UsageError, settings_from

CONFIG = {"config_path": "config.json"}
MODEL = {"model_name": "m", "model_path": "/models/m"}


def complaint(given: dict[str, str]) -> str:
    with pytest.raises(UsageError) as caught:
        settings_from(given)
    return str(caught.value)


def test_without_other_flags_the_defaults_are_those_of_ovms() -> None:
    settings = settings_from(CONFIG)
    assert settings == Settings(Path("config.json"))
    assert settings.port == 9178
    assert settings.bind_addresses == ("0.0.0.0",)
    assert settings.rest_port is None
    assert settings.rest_bind_addresses == ("0.0.0.0",)
    assert settings.grpc_max_message_size == 2**30
    assert settings.metrics is None
    assert settings.log_level == "INFO"
    assert settings.file_system_poll_wait_seconds == 1
    assert settings.sequence_idle_seconds == 300


def test_calculators_come_from_a_directory(tmp_path: Path) -> None:
    file = tmp_path / "calculator.py"
    file.touch()
    for path in (file, tmp_path / "nowhere"):
        said = complaint(CONFIG | {"calculators_path": str(path)})
        assert said == f"calculators_path should be a directory, not {str(path)!r}"


def test_every_flag_that_works_has_its_place(tmp_path: Path) -> None:
    settings = settings_from(
        CONFIG
        | {
            "port": "9000",
            "grpc_bind_address": "127.0.0.1,::1",
            "rest_port": "8000",
            "rest_bind_address": "localhost",
            "grpc_transport": "aio",
            "grpc_max_message_size": "1000",
            "grpc_channel_arguments": "grpc.max_connection_age_ms=2000,grpc.x=y",
            "metrics_enable": "true",
            "metrics_list": "ovms_streams, ovms_responses",
            "log_level": "DEBUG",
            "log_path": "server.log",
            "file_system_poll_wait_seconds": "0",
            "readiness": "latched",
            "sequence_cleaner_poll_wait_minutes": "7",
            "calculators_path": str(tmp_path),
        }
    )
    assert settings == Settings(
        source=Path("config.json"),
        port=9000,
        bind_addresses=("127.0.0.1", "::1"),
        rest_port=8000,
        rest_bind_addresses=("localhost",),
        grpc_transport="aio",
        grpc_max_message_size=1000,
        grpc_channel_arguments=(
            ("grpc.max_connection_age_ms", 2000),
            ("grpc.x", "y"),
        ),
        metrics=MonitoringSpec(
            is_enabled=True, families=("ovms_streams", "ovms_responses")
        ),
        log_level="DEBUG",
        log_path=Path("server.log"),
        file_system_poll_wait_seconds=0,
        readiness="latched",
        sequence_cleaner_poll_wait_minutes=7,
        calculators_path=tmp_path,
    )


def test_a_single_model_is_as_its_flags_say() -> None:
    given = MODEL | {
        "model_version_policy": '{"all": {}}',
        "nireq": "3",
        "target_device": "GPU",
        "plugin_config": '{"NUM_STREAMS": 1}',
    }
    spec = ModelSpec("m", Path("/models/m"), All(), 3, "GPU", {"NUM_STREAMS": 1})
    assert settings_from(given).source == spec


def test_a_single_model_keeps_sequences_as_its_flags_say() -> None:
    given = {"max_sequence_number": "4", "idle_sequence_cleanup": "false"}
    source = settings_from(MODEL | given).source
    assert source == ModelSpec(
        "m", Path("/models/m"), max_sequence_number=4, idle_sequence_cleanup=False
    )


def test_a_single_model_is_joined_and_stateful_as_its_flags_say() -> None:
    given = {
        "max_batch_size": "8",
        "max_queue_delay_microseconds": "100",
        "stateful": "true",
        "low_latency_transformation": "true",
    }
    assert settings_from(MODEL | given).source == ModelSpec(
        "m",
        Path("/models/m"),
        is_stateful=True,
        low_latency_transformation=True,
        dynamic_batching=DynamicBatching(8, 100),
    )


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"low_latency_transformation": "true"}, "needs stateful"),
        ({"max_queue_delay_microseconds": "5"}, "needs max_batch_size"),
        ({"max_batch_size": "0"}, "max_batch_size should be at least 1"),
    ],
)
def test_a_flag_that_needs_another_is_refused_without_it(
    given: dict[str, str], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        settings_from(MODEL | given)


@pytest.mark.parametrize(("minutes", "seconds"), [("0", None), ("1", 60), ("5", 300)])
def test_idle_sequences_are_forgotten_after_minutes_or_never(
    minutes: str, seconds: float | None
) -> None:
    given = CONFIG | {"sequence_cleaner_poll_wait_minutes": minutes}
    assert settings_from(given).sequence_idle_seconds == seconds


def test_a_single_model_has_the_defaults_of_ovms() -> None:
    source = settings_from(MODEL | {"nireq": "0", "target_device": ""}).source
    assert source == ModelSpec("m", Path("/models/m"))


def test_a_model_path_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = settings_from({"model_name": "m", "model_path": "m"}).source
    assert source == ModelSpec("m", tmp_path / "m")


def test_a_port_that_is_0_or_auto_is_a_free_one() -> None:
    assert settings_from(CONFIG | {"port": "0"}).port == 0
    assert settings_from(CONFIG | {"port": "auto"}).port == 0
    given = CONFIG | {"port": "auto", "rest_port": "auto"}
    assert settings_from(given).rest_port == 0


def test_rest_port_0_is_off_as_in_ovms() -> None:
    assert settings_from(CONFIG | {"rest_port": "0"}).rest_port is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (CONFIG | MODEL, "Use either config_path or model_path with model_name"),
        (
            CONFIG | {"model_name": "m"},
            "Use either config_path or model_path with model_name",
        ),
        ({}, "Use config_path or model_path with model_name"),
        ({"model_name": "m"}, "Use config_path or model_path with model_name"),
        ({"model_path": "m"}, "Use config_path or model_path with model_name"),
        (
            CONFIG | {"nireq": "4"},
            "Model parameters in CLI are exclusive with the config file",
        ),
        (
            CONFIG | {"shape": "auto"},
            "Model parameters in CLI are exclusive with the config file",
        ),
        (
            CONFIG | {"grpc_workers": "0"},
            f"grpc_workers count should be from 1 to CPU core count : {os.cpu_count()}",
        ),
        (
            CONFIG | {"grpc_workers": "100000"},
            f"grpc_workers count should be from 1 to CPU core count : {os.cpu_count()}",
        ),
        (
            CONFIG | {"metrics_enable": "true"},
            "rest_port setting is missing, metrics are enabled on rest port",
        ),
        (
            CONFIG | {"metrics_enable": "true", "rest_port": "0"},
            "rest_port setting is missing, metrics are enabled on rest port",
        ),
        (
            CONFIG | {"metrics_list": "ovms_streams", "rest_port": "1"},
            "metrics_enable setting is missing, required when metrics_list is provided",
        ),
        (
            CONFIG | {"rest_workers": "1", "rest_port": "1"},
            "rest_workers count should be from 2 to 10000",
        ),
        (
            CONFIG | {"rest_workers": "10001", "rest_port": "1"},
            "rest_workers count should be from 2 to 10000",
        ),
        (
            CONFIG | {"rest_workers": "2"},
            "rest_workers is set but rest_port is not set. "
            "rest_port is required to start rest servers",
        ),
        (CONFIG | {"port": "65536"}, "port number out of range from 0 to 65535"),
        (
            CONFIG | {"rest_port": "65536"},
            "rest_port number out of range from 0 to 65535",
        ),
        (
            CONFIG | {"port": "8000", "rest_port": "8000"},
            "port and rest_port cannot have the same values",
        ),
        (
            CONFIG | {"rest_port": "9178"},
            "port and rest_port cannot have the same values",
        ),
        (
            CONFIG | {"grpc_bind_address": "a_b"},
            "grpc_bind_address has invalid format: "
            "proper hostname or IP address expected.",
        ),
        (
            CONFIG | {"grpc_bind_address": "127.0.0.1,unix:socket"},
            "grpc_bind_address should have a Unix socket as unix:/path, of at most 107 "
            "bytes, not 'unix:socket'",
        ),
        (
            CONFIG | {"grpc_bind_address": "unix:/" + "é" * 54},
            "grpc_bind_address should have a Unix socket as unix:/path, of at most 107 "
            f"bytes, not 'unix:/{'é' * 54}'",
        ),
        (
            CONFIG | {"grpc_bind_address": "unix:/run/ovms", "grpc_workers": "2"},
            "grpc_bind_address: workers cannot share a Unix socket: unix:/run/ovms",
        ),
        (
            CONFIG | {"rest_bind_address": "unix:/run/ovms"},
            "rest_bind_address has invalid format: "
            "proper hostname or IP address expected.",
        ),
        (
            CONFIG | {"rest_bind_address": "127.0.0.1,"},
            "rest_bind_address has invalid format: "
            "proper hostname or IP address expected.",
        ),
        (
            CONFIG | {"cpu_extension": "/no/such.so"},
            "File path provided as an --cpu_extension parameter does not exist in the "
            "filesystem: /no/such.so",
        ),
        (
            CONFIG | {"log_level": "info"},
            "log_level should be one of: TRACE, DEBUG, INFO, WARNING, ERROR",
        ),
        (
            CONFIG | {"port": "-1"},
            "port should be a number without sign, not '-1'",
        ),
        (
            CONFIG | {"port": "٣"},
            "port should be a number without sign, not '٣'",
        ),
        (
            MODEL | {"nireq": "9" * 5000},
            f"nireq should be a number without sign, not '{'9' * 5000}'",
        ),
        (
            CONFIG | {"metrics_enable": "yes"},
            "metrics_enable should be true or false, not 'yes'",
        ),
        (
            CONFIG | {"grpc_transport": "sync"},
            "grpc_transport should be one of: core, aio",
        ),
        (CONFIG | {"readiness": "no"}, "readiness should be one of: live, latched"),
        (
            CONFIG | {"grpc_max_message_size": "0"},
            "grpc_max_message_size should be from 1 to 2147483647",
        ),
        (
            CONFIG | {"grpc_max_message_size": "2147483648"},
            "grpc_max_message_size should be from 1 to 2147483647",
        ),
        (
            CONFIG | {"grpc_channel_arguments": "a=1,b"},
            "grpc_channel_arguments should be name=value,name=value, not 'a=1,b'",
        ),
        (
            {"model_name": "m", "model_path": "hdfs://bucket/m"},
            "--model_path: hdfs:// is not supported, expected a local path",
        ),
        (
            MODEL | {"nireq": "100001"},
            "Nireq parameter too high: 100001, at most 100000",
        ),
        (
            MODEL | {"plugin_config": "{"},
            "--plugin_config: line 1, column 2: "
            "Expecting property name enclosed in double quotes",
        ),
        (
            MODEL | {"plugin_config": '{"a": {}}'},
            "--plugin_config: a: "
            "expected a string, a number or a boolean, got an object",
        ),
        (
            MODEL | {"model_version_policy": '{"newest": {}}'},
            "--model_version_policy: newest: unknown key",
        ),
        (
            MODEL | {"model_name": "\udcff"},
            "--model_name: NUL or a lone surrogate in a string",
        ),
    ],
)
def test_a_complaint_is_made_in_the_words_of_ovms(
    given: dict[str, str], expected: str
) -> None:
    assert complaint(given) == expected


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "::", "fe80::1", "localhost", "a-1.example.org", "cafe", "x1"]
)
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    assert settings_from(CONFIG | {"rest_bind_address": host}).rest_bind_addresses == (
        host,
    )


def test_grpc_may_have_a_unix_socket_beside_hosts() -> None:
    addresses = "127.0.0.1,unix:/run/ovms.sock"
    settings = settings_from(CONFIG | {"grpc_bind_address": addresses})
    assert settings.bind_addresses == ("127.0.0.1", "unix:/run/ovms.sock")


@pytest.mark.parametrize(
    "host", ["256.1.1.1", "1.2.3", ":::", "-a", "a-", "a..b", "a b", "*", "[::1]", "é"]
)
def test_what_is_neither_a_name_nor_an_address_is_no_host(host: str) -> None:
    assert "grpc_bind_address has invalid format" in complaint(
        CONFIG | {"grpc_bind_address": host}
    )


@pytest.mark.parametrize("home", ["g", "g/1"])
def test_a_single_graph_has_no_settings_of_a_model(tmp_path: Path, home: str) -> None:
    (tmp_path / home).mkdir(parents=True)
    (tmp_path / home / "graph.pbtxt").touch()
    given = {"model_name": "g", "model_path": str(tmp_path / "g")}
    accepted = settings_from(given | {"plugin_config": "{}"})
    assert accepted.source == ModelSpec("g", tmp_path / "g")
    assert complaint(given | {"nireq": "4", "target_device": "CPU"}) == (
        "Starting mediapipe graph with unsupported model settings: nireq, "
        "target_device. The settings should be set in subconfig.json file."
    )


def test_metrics_come_from_flags_or_from_the_config_file() -> None:
    plain = settings_from(CONFIG | {"rest_port": "8000"})
    enabled = MonitoringSpec(is_enabled=True, families=("ovms_streams",))
    disabled = MonitoringSpec(is_enabled=False)
    assert plain.monitoring(None) == disabled
    assert plain.monitoring(enabled) == enabled
    flags = settings_from(CONFIG | {"rest_port": "8000", "metrics_enable": "true"})
    assert flags.monitoring(None) == MonitoringSpec(is_enabled=True)
    with pytest.raises(UsageError, match="Metrics configuration duplicated"):
        flags.monitoring(disabled)


def test_metrics_of_the_config_file_need_a_rest_port_too() -> None:
    settings = settings_from(CONFIG)
    disabled = MonitoringSpec(is_enabled=False)
    assert settings.monitoring(disabled) == disabled
    with pytest.raises(UsageError, match="rest_port setting is missing"):
        settings.monitoring(MonitoringSpec(is_enabled=True))

"""The command line: exit codes, and which flags work, do nothing or are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ovms_mp import __version__
from ovms_mp.cli import EX_USAGE, main
from ovms_mp.core.errors import ServingError, Status
from ovms_mp.repository.config import ModelSpec
from ovms_mp.settings import Settings, UsageError

# Every flag of OVMS 2024.0 and of its current main, with a value that is in order.
WORKING = (
    *("--port=9000", "--grpc_bind_address=127.0.0.1", "--rest_port=8000"),
    *("--rest_bind_address=127.0.0.1", "--grpc_transport=aio"),
    "--grpc_memory_quota=1000",
    *("--grpc_channel_arguments=a=b", "--metrics_enable", "--metrics_list=x"),
    *("--log_level=INFO", "--nireq=1", "--target_device=CPU", "--plugin_config={}"),
    *("--model_version_policy={}", "--calculators_path=."),
    *("--max_sequence_number=4", "--idle_sequence_cleanup=false", "--stateful"),
    *("--max_batch_size=4", "--max_queue_delay_microseconds=100"),
    *("--batch_size=4", "--shape=auto", "--layout=NHWC", "--mean=1", "--scale=2"),
    *("--color_format=BGR:RGB", "--precision=uint8:fp32", "--cpu_extension=."),
    *("--sequence_cleaner_poll_wait_minutes=1", "--cache_dir=c"),
)
IN_VAIN = (
    *("--grpc_max_threads=4", "--rest_workers=4"),
    "--custom_node_resources_cleaner_interval_seconds=1",
    "--verbose_response",
    *("--allowed_media_domains=d", "--allowed_local_media_path=p"),
)
UNSUPPORTED: tuple[str, ...] = ()
OTHER_MODES = (
    *("--pull", "--configure", "--source_model=m"),
    *("--source_loras=l", "--gguf_filename=g", "--overwrite_models"),
    *("--weight-format=int8", "--extra_quantization_params=p", "--task=embeddings"),
)
MODEL = ("--model_name", "m", "--model_path", "/models/m")

# Every option of a server and of its single model in OVMS 2024.0 and its current main,
# as a sound command line has it; what such a line needs beside it.
OF_OVMS = (
    *("--port=9000", "--grpc_bind_address=127.0.0.1,::1", "--rest_port=8000"),
    *("--rest_bind_address=0.0.0.0", "--grpc_workers=1", "--grpc_max_threads=8"),
    *("--grpc_memory_quota=2147483648", "--rest_workers=4"),
    *("--grpc_channel_arguments=grpc.max_connection_age_ms=2000",),
    *("--file_system_poll_wait_seconds=0", "--sequence_cleaner_poll_wait_minutes=5"),
    *("--custom_node_resources_cleaner_interval_seconds=300", "--cache_dir=c"),
    *("--metrics_enable", "--metrics_list=ovms_streams", "--cpu_extension=."),
    *("--log_level=DEBUG", "--log_path=x.log", "--trace_path=t"),
    *("--verbose_response", "--allowed_origins=*", "--allowed_methods=GET"),
    *("--allowed_headers=x-a", "--allow_credentials", "--api_key_file=keys"),
    *("--allowed_media_domains=d", "--allowed_local_media_path=p"),
    *("--batch_size=auto", "--shape=(1,3,-1,200:500)", "--layout=NHWC:NCHW"),
    *("--mean=[1,2,3]", "--scale=2.5", "--color_format=BGR:RGB"),
    *("--precision=uint8:fp32", '--model_version_policy={"all": {}}', "--nireq=4"),
    *("--target_device=CPU", '--plugin_config={"NUM_STREAMS": 1}'),
    *("--stateful", "--idle_sequence_cleanup=false", "--low_latency_transformation"),
    "--max_sequence_number=7",
)
BESIDE = {
    "--rest_workers": ("--rest_port=8000",),
    "--metrics_enable": ("--rest_port=8000",),
    "--metrics_list": ("--metrics_enable", "--rest_port=8000"),
    "--mean": ("--layout=NHWC",),
    "--scale": ("--layout=NHWC",),
    "--color_format": ("--layout=NHWC",),
    "--precision": ("--layout=NHWC",),
    "--low_latency_transformation": ("--stateful",),
}


class Server:
    """Stands for the application: keeps what it is asked to serve."""

    def __init__(self, outcome: int | Exception = 0) -> None:
        self.served: list[Settings] = []
        self._outcome = outcome

    def run(self, settings: Settings) -> int:
        self.served.append(settings)
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def usage_error(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    server = Server()
    assert main(arguments, server.run) == EX_USAGE == 64
    assert server.served == []
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",), ("--help", *MODEL)])
def test_help_is_printed_on_request_and_when_nothing_is_said(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith("usage: ovms-mp ")
    for flag in (*WORKING, *IN_VAIN, *UNSUPPORTED, *OTHER_MODES):
        assert flag.partition("=")[0] in captured.out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ovms_mp {__version__}\n"


def test_the_package_is_the_command() -> None:
    command = [sys.executable, "-m", "ovms_mp", "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == f"ovms_mp {__version__}\n"


def test_the_settings_are_served_and_the_exit_code_is_the_servers() -> None:
    for code in (0, 1):
        server = Server(code)
        assert main(["--config_path", "c.json", "--port=0"], server.run) == code
        assert server.served == [Settings(Path("c.json"), port=0)]


def test_a_switch_may_have_a_value() -> None:
    for text, enabled in (
        ("--metrics_enable", True),
        ("--metrics_enable=true", True),
        ("--metrics_enable=false", False),
    ):
        server = Server()
        assert main([text, "--rest_port=1", *MODEL], server.run) == 0
        assert (server.served[0].metrics is not None) is enabled


@pytest.mark.parametrize("flag", OF_OVMS)
def test_each_flag_of_ovms_is_accepted_and_says_so_if_it_does_nothing(
    flag: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    name = flag.partition("=")[0]
    server = Server()
    assert main((flag, *BESIDE.get(name, ()), *MODEL), server.run) == 0
    (settings,) = server.served
    said = capsys.readouterr().out.count("has no effect")
    does_nothing = name in {each.partition("=")[0] for each in IN_VAIN}
    assert said == does_nothing
    plain = Server()
    assert main((*BESIDE.get(name, ()), *MODEL), plain.run) == 0
    is_a_default = {
        *("--rest_bind_address=0.0.0.0", "--grpc_workers=1", "--target_device=CPU"),
        *("--sequence_cleaner_poll_wait_minutes=5", "--allowed_origins=*"),
        "--grpc_memory_quota=2147483648",
    }
    changes_nothing = does_nothing or flag in is_a_default
    assert (settings == plain.served[0]) is changes_nothing


@pytest.mark.parametrize("flag", IN_VAIN)
def test_a_flag_that_can_change_no_answer_is_accepted_and_said_to_do_nothing(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server()
    assert main((flag, "--rest_port=1", *MODEL), server.run) == 0
    assert len(server.served) == 1
    name = flag.partition("=")[0]
    assert capsys.readouterr().out.count(f"[warning] {name} has no effect: ") == 1


@pytest.mark.parametrize("flag", [*UNSUPPORTED, *OTHER_MODES])
def test_a_flag_that_would_change_answers_is_refused(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = flag.partition("=")[0]
    expected = f"{name} is not supported in this version\n"
    assert usage_error((flag, *MODEL), capsys) == expected


def test_unsupported_flags_with_their_default_values_are_accepted() -> None:
    server = Server()
    arguments = (
        *("--batch_size=0", "--stateful=false", "--idle_sequence_cleanup"),
        *("--low_latency_transformation=false", "--max_sequence_number=500"),
    )
    assert main((*arguments, *MODEL), server.run) == 0
    assert [s.source for s in server.served] == [ModelSpec("m", Path("/models/m"))]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("--prot=1", *MODEL),
            "error parsing options: unrecognized arguments: --prot=1",
        ),
        (("--por=1", *MODEL), "error parsing options: unrecognized arguments: --por=1"),
        (("--port",), "error parsing options: argument --port: expected one argument"),
        (("stray", *MODEL), "error parsing options: unrecognized arguments: stray"),
        (("--port=1",), "Use config_path or model_path with model_name"),
    ],
)
def test_wrong_usage_is_told_on_stderr(
    arguments: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert usage_error(arguments, capsys) == f"{expected}\n"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (ServingError(Status.JSON_INVALID, "c.json"), "not valid json - c.json"),
        (UsageError("port missing"), "cannot start: port missing"),
        (OSError(98, "cannot listen on ::1:80: in use"), "cannot listen on ::1:80"),
        (RuntimeError("a bug"), "RuntimeError: a bug"),
    ],
)
def test_a_server_that_cannot_start_says_why_and_exits_with_1(
    reason: Exception, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(MODEL, Server(reason).run) == 1
    assert text in capsys.readouterr().out


def test_a_log_file_that_cannot_be_written_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server()
    assert main([*MODEL, f"--log_path={tmp_path}/none/x.log"], server.run) == 1
    assert server.served == []
    assert "log_path cannot be written: " in capsys.readouterr().err


def test_the_log_goes_to_the_file_at_the_wanted_level(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    arguments = (*MODEL, f"--log_path={file}", "--log_level=ERROR", "--cache_dir=c")
    assert main(arguments, Server(UsageError("no")).run) == 1
    (line,) = file.read_text().splitlines()
    assert line.endswith("[serving][error] The server cannot start: no")

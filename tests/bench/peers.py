"""KServe's Python server, MLServer and Triton: each from PyPI, in an environment of its
own beside the assets, with versions that are pinned here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import openvino as ov
from ovms_mp_protos import kserve

from graphs import assets
from ovms_mp.core.tensor import Datatype
from tests.bench.models import Model, path_of
from tests.bench.servers import Server, free_port

TRITON: Final = "Triton 2.51 (Python backend)"
KSERVE: Final = "KServe 0.21"
MLSERVER: Final = "MLServer 1.7.1"
NAMES: Final = (TRITON, KSERVE, MLSERVER)
UNARY: Final = frozenset({KSERVE})
"""Who has no stream RPC."""

_REQUIREMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "triton": ("nvidia-pytriton==0.7.0",),
    "kserve": ("kserve==0.21.0",),
    "mlserver": ("mlserver==1.7.1", "uvloop<0.22"),
}
_SCRIPTS: Final = Path(__file__).with_name("peer_servers")
_READY_WITHIN: Final = 120.0
_UV: Final = Path(sys.executable).with_name("uv")
_TRITON_TYPES: Final = {"FP32": "TYPE_FP32", "UINT8": "TYPE_UINT8"}


@dataclass(frozen=True, slots=True)
class _Launch:
    """How a peer is started: it listens to `port` for gRPC."""

    name: str
    command: list[Any]
    port: int
    paths: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: Path | None = None


def environment(name: str) -> Path:
    """The folder of a peer's packages; installed if it is not there as it is pinned."""
    openvino = f"openvino=={ov.get_version().partition('-')[0]}"
    return installed(name, (*_REQUIREMENTS[name], openvino))


def installed(name: str, requirements: tuple[str, ...]) -> Path:
    """A virtual environment of its own with these packages. Raises CalledProcessError
    when they cannot be had.
    """
    home = assets.cache_folder() / "bench" / "environments" / name
    stamp, wanted = home / "installed", "\n".join(requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        print(f"installing {name}", flush=True)
        quiet = (_UV, "--quiet")
        subprocess.run([*quiet, "venv", "--python", sys.executable, home], check=True)
        python = ("--python", home / "bin" / "python")
        subprocess.run([*quiet, "pip", "install", *python, *requirements], check=True)
        stamp.write_text(wanted)
    return home


@contextmanager
def triton(model: Model, folder: Path) -> Iterator[Server]:
    """tritonserver out of the wheel of PyTriton, with its Python backend: an instance
    for each stream.
    """
    home = environment("triton")
    (packages,) = home.glob("lib/python*/site-packages")
    server = packages / "pytriton" / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, server / "backends" / "python")
    repository = folder / f"{model.name}_triton"
    (repository / model.name / "1").mkdir(parents=True)
    shutil.copy(
        _SCRIPTS / "triton_model.py", repository / model.name / "1" / "model.py"
    )
    one = {**model.properties, "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1"}
    settings = repository / model.name / "1" / "settings.json"
    more = {"properties": one, "packages": str(packages)}
    settings.write_text(json.dumps({**_settings(model), **more}))
    (repository / model.name / "config.pbtxt").write_text(_triton_config(model))
    port = free_port()
    command = [server / "bin" / "tritonserver", f"--model-repository={repository}"]
    command += [f"--backend-directory={server / 'backends'}", "--allow-http=false"]
    command += ["--allow-metrics=false", f"--grpc-port={port}"]
    command += ["--grpc-address=127.0.0.1", "--log-info=false", "--log-warning=false"]
    paths = {"LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs")}
    with _running(_Launch(TRITON, command, port, paths), model, folder) as found:
        yield found


def _triton_config(model: Model) -> str:
    kind = _TRITON_TYPES[_datatype(model)]
    return f"""
name: "{model.name}"
backend: "python"
max_batch_size: 0
input [ {{ name: "{model.input}" data_type: {kind} dims: {list(model.shape)} }} ]
output [ {{ name: "{model.output}" data_type: {kind} dims: {_output_dims(model)} }} ]
instance_group [ {{ count: {model.streams} kind: KIND_CPU }} ]
"""


def _output_dims(model: Model) -> list[int]:
    return list(ov.Core().read_model(path_of(model)).outputs[0].shape)


@contextmanager
def kserve_python(model: Model, folder: Path) -> Iterator[Server]:
    """KServe's ModelServer, one worker."""
    home = environment("kserve")
    port = free_port()
    settings = folder / f"{model.name}_kserve.json"
    ports = {"grpc_port": port, "http_port": free_port()}
    settings.write_text(json.dumps({**_settings(model), **ports}))
    command = [home / "bin" / "python", _SCRIPTS / "kserve_server.py", settings]
    with _running(_Launch(KSERVE, command, port), model, folder) as found:
        yield found


@contextmanager
def mlserver(model: Model, folder: Path) -> Iterator[Server]:
    """MLServer without inference workers, which its streams do not allow."""
    home = environment("mlserver")
    port = free_port()
    site = folder / f"{model.name}_mlserver"
    site.mkdir()
    shutil.copy(_SCRIPTS / "mlserver_model.py", site)
    (site / "settings.json").write_text(
        json.dumps(
            {
                "host": "127.0.0.1",
                "grpc_port": port,
                "http_port": free_port(),
                "metrics_port": free_port(),
                "parallel_workers": 0,
                "gzip_enabled": False,
                "grpc_max_message_length": 1 << 30,
                "debug": False,
                **_settings(model),
            }
        )
    )
    (site / "model-settings.json").write_text(
        json.dumps({"name": model.name, "implementation": "mlserver_model.Served"})
    )
    command = [home / "bin" / "mlserver", "start", "."]
    launch = _Launch(MLSERVER, command, port, cwd=site)
    with _running(launch, model, folder) as found:
        yield found


Peer: TypeAlias = Callable[[Model, Path], AbstractContextManager[Server]]

PEERS: Final[tuple[Peer, ...]] = (triton, kserve_python, mlserver)


def _settings(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "path": str(path_of(model)),
        "input": model.input,
        "output": model.output,
        "datatype": _datatype(model),
        "streams": model.streams,
        "properties": dict(model.properties),
    }


def _datatype(model: Model) -> str:
    found = Datatype.from_dtype(model.feed().dtype)
    assert found
    return found.name


@contextmanager
def _running(launch: _Launch, model: Model, folder: Path) -> Iterator[Server]:
    log = folder / f"{model.name}_{launch.port}.log"
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with (
        log.open("w") as output,
        subprocess.Popen(
            launch.command,
            stdout=output,
            stderr=output,
            env={**clean, **launch.paths},
            cwd=launch.cwd,
        ) as process,
    ):
        try:
            _wait_until_ready(launch, model, process, log)
            yield Server(launch.name, process.pid, ("127.0.0.1", launch.port))
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(
    launch: _Launch, model: Model, process: subprocess.Popen[Any], log: Path
) -> None:
    end = time.monotonic() + _READY_WITHIN
    question = kserve.ModelReadyRequest(name=model.name).SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{launch.port}") as channel:
        ask: Any = channel.unary_unary(kserve.MODEL_READY)
        while time.monotonic() < end and process.poll() is None:
            try:
                if kserve.ModelReadyResponse.FromString(ask(question, timeout=5)).ready:
                    return
            except grpc.RpcError:
                pass
            time.sleep(0.2)
    raise RuntimeError(f"{launch.name} does not start:\n{log.read_text()[-2000:]}")

"""A built image runs as Docker would run it, and a video is streamed through it.

    .venv/bin/python -m tests.container.trial [IMAGE]

User 5000, no capabilities, a read-only root, the models mounted read-only, the server as
PID 1; only the network is the machine's own. That takes root, buildah and runc, hence
no test of the suite.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ovms_mp_clients import Client

from graphs import repository
from graphs.people_tracking import demo

IMAGE: Final = "localhost/ovms_mp:slim"
NAME: Final = "ovms_mp-trial"
UID: Final = 5000
PYTHON: Final = "/opt/ovms_mp/bin/python"
READY_WITHIN: Final = 60.0  # seconds
STOPS_WITHIN: Final = 10  # seconds, then Docker kills

# For a user without groups; directories like /tmp are everybody's, by their sticky bit.
_OWN: Final = f"-type f,d ( -uid {UID} -o -gid {UID} -o -perm -2 ! -perm -1000 )"
_TRY_TO_WRITE: Final = """
import sys
for folder in ("/", "/models", "/opt/ovms_mp", "/tmp"):
    try:
        open(folder + "/new", "w")
    except OSError:
        continue
    sys.exit(folder + " is writable")
"""


def output(*command: str) -> str:
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def passed(what: str) -> None:
    print(f"ok   {what}", flush=True)


@contextmanager
def unpacked(image: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The image's root file system, and its configuration as Docker keeps it."""
    container = output("buildah", "from", "--pull-never", image)
    try:
        inspected = json.loads(output("buildah", "inspect", container))
        yield Path(output("buildah", "mount", container)), inspected["Docker"]["config"]
    finally:
        output("buildah", "rm", container)


def bundle(root: Path, config: dict[str, Any], models: Path, flags: list[str]) -> str:
    """What runc is told, as JSON."""
    output("runc", "spec", "--bundle", str(models.parent))
    spec = json.loads((models.parent / "config.json").read_text())
    uid, gid = map(int, config["User"].split(":"))
    spec["root"] = {"path": str(root), "readonly": True}
    spec["process"] |= {
        "terminal": False,
        "user": {"uid": uid, "gid": gid},
        "args": [*config["Entrypoint"], *flags],
        "cwd": config["WorkingDir"],
        "env": [*(config["Env"] or []), "HOME=/"],
        "capabilities": {},
        "noNewPrivileges": True,
    }
    # The machine's network, so that no bridge has to be made.
    spec["linux"]["namespaces"] = [
        each for each in spec["linux"]["namespaces"] if each["type"] != "network"
    ]
    spec["mounts"].append(
        {
            "destination": "/models",
            "type": "bind",
            "source": str(models),
            "options": ["rbind", "ro"],
        }
    )
    return json.dumps(spec)


def inside(*command: str) -> subprocess.CompletedProcess[str]:
    """Run that in the container; its code, and all that it says."""
    return subprocess.run(
        ["runc", "exec", "--user", f"{UID}:{UID}", NAME, *command],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def is_healthy(config: dict[str, Any]) -> bool:
    """What the image's own health check says."""
    kind, *command = config["Healthcheck"]["Test"]
    assert kind == "CMD"
    return inside(*command).returncode == 0


def wait_until_ready(server: subprocess.Popen[bytes], address: str, graph: str) -> None:
    started = time.monotonic()
    with Client(address) as client:
        while not (client.is_ready() and client.is_ready(graph)):
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < started + READY_WITHIN, "the server is not ready"
            time.sleep(0.05)
    passed(f"ready after {time.monotonic() - started:.1f} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def try_out(image: str, folder: Path) -> None:
    scene, path = demo.choose(None)
    models = folder / "models"
    repository.add_graph(models, scene.graph)
    port = free_port()
    flags = ["--config_path", "/models/config.json", "--port", str(port)]
    with unpacked(image) as (root, config):
        size = output("buildah", "images", "--format", "{{.Size}}", image)
        own = output("du", "-sh", f"{root}/opt/ovms_mp").split()[0]
        passed(f"{image} has {size}, {own} of it in /opt/ovms_mp")
        found = output("find", str(root), "-xdev", *_OWN.split())
        assert found == "", f"user {UID} could change {found}"
        passed(f"nothing in the image is user {UID}'s to change")
        (folder / "config.json").write_text(bundle(root, config, models, flags))
        command = ["runc", "run", "--bundle", str(folder), NAME]
        with (
            (folder / "server.log").open("w") as log,
            subprocess.Popen(command, stdout=log, stderr=log) as server,
        ):
            try:
                _converse(server, f"127.0.0.1:{port}", scene, path, config)
            except BaseException:
                subprocess.run(["runc", "kill", NAME, "KILL"], check=False)
                print((folder / "server.log").read_text())
                raise


def _converse(
    server: subprocess.Popen[bytes],
    address: str,
    scene: demo.Scene,
    path: Path,
    config: dict[str, Any],
) -> None:
    wait_until_ready(server, address, scene.graph)
    status = inside("cat", "/proc/1/status").stdout
    assert f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}\n" in status, status
    assert "CapEff:\t0000000000000000\n" in status, status
    passed(f"PID 1 is user {UID} without capabilities")
    attempt = inside(PYTHON, "-c", _TRY_TO_WRITE)
    assert attempt.returncode == 0, attempt.stdout
    passed("it can write nowhere")
    assert is_healthy(config)
    passed("the health check says so")
    clip = demo.Clip(scene, path)
    with tempfile.NamedTemporaryFile(suffix=".mp4") as video:
        outcome = demo.run(scene, clip, address, Path(video.name))
    assert len(outcome.tracks) == scene.frames
    passed("a stream:")
    print(demo.summary(clip, outcome))
    started = time.monotonic()
    output("runc", "kill", NAME, "TERM")
    code = server.wait(STOPS_WITHIN)
    assert code == 0, f"exit code {code}"
    passed(f"SIGTERM ended it with 0 after {time.monotonic() - started:.1f} s")


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        try_out(arguments[0] if arguments else IMAGE, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

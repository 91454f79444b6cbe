"""R18: a server that cannot start says why, in a line, and is gone; one that can, does."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.gates.gate import Figure, Run, none, percentile, seconds
from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.servers import HOST, Process

GONE_WITHIN: Final = 5.0
PATIENCE: Final = 120.0

# What gRPC's core and OpenVINO's readers say on standard error by themselves, in the form
# of absl's log: it is no line of the server's, which has none of the kind.
_BESIDE: Final = re.compile(r"[IWEF]\d{4} |WARNING: All log messages before absl::")

Flags = tuple[str, ...]


def _of(folder: Path) -> Flags:
    """What would start."""
    home = zoo.add_model(folder, "add_one", tiny.add_one())
    return ("--model_name", "add_one", "--model_path", str(home))


def _text(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def _certificate(folder: Path) -> Flags:
    text = "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"
    path = _text(folder, "bad.pem", text)
    return (*_of(folder), "--grpc_certificate_path", path, "--grpc_key_path", path)


CASES: Final[Mapping[str, tuple[str, Callable[[Path], Flags]]]] = {
    "a config that is not there": (
        "config.json",
        lambda folder: ("--config_path", str(folder / "config.json")),
    ),
    "a config that is a directory": (
        "nowhere",
        lambda folder: ("--config_path", _directory(folder / "nowhere")),
    ),
    "a config that is cut off": (
        "not valid json",
        lambda folder: ("--config_path", _text(folder, "c.json", '{"model_config_li')),
    ),
    "a config with an unknown section": (
        "modell_config_list",
        lambda folder: (
            "--config_path",
            _text(folder, "c.json", '{"modell_config_list": []}'),
        ),
    ),
    "a model that is not there": (
        "base path is invalid",
        lambda folder: ("--model_name", "m", "--model_path", str(folder / "nothing")),
    ),
    "a model that is none": (
        "model.xml",
        lambda folder: ("--model_name", "m", "--model_path", _broken_model(folder)),
    ),
    "a graph that is none": (
        "graph.pbtxt:1",
        lambda folder: (
            *("--model_name", "g"),
            *("--model_path", str(zoo.add_graph(folder, "g", "node {"))),
        ),
    ),
    "a certificate that is none": ("certificate", _certificate),
    "a key that is not there": (
        "keys cannot be read",
        lambda folder: (*_of(folder), "--api_key_file", str(folder / "keys")),
    ),
    "a log in a directory that is not there": (
        "log_path",
        lambda folder: (*_of(folder), "--log_path", str(folder / "no" / "log")),
    ),
    "a flag that is none": ("error parsing options", lambda folder: ("--nonsense",)),
}
"""What is wrong, a word of the line that has to say so, and the flags."""


def told(run: Run) -> list[Figure]:
    """Ports that are taken, files and models that are not there or not what they should
    be: each ends the server within 5 s, with a code that is not 0 and one line that names
    it. And what can start does, every time.
    """
    taken: list[float] = []
    wrong: list[str] = []
    for number, (case, (word, flags)) in enumerate(CASES.items()):
        folder = run.folder / str(number)
        folder.mkdir()
        given = flags(folder)
        wrong += _ended(folder, case, word, given, taken)
    folder = run.folder / "port"
    folder.mkdir()
    with socket.create_server((HOST, 0)) as other:
        port = str(other.getsockname()[1])
        wrong += _ended(folder, "a port that is taken", port, _of(folder), taken, port)
    folder = run.folder / "rest_port"
    folder.mkdir()
    with socket.create_server((HOST, 0)) as other:
        port = str(other.getsockname()[1])
        flags = (*_of(folder), "--rest_port", port)
        wrong += _ended(folder, "a REST port that is taken", port, flags, taken)
    starts = [_started(run.folder / f"start_{number}") for number in run.times()]
    return [
        Figure("starts that cannot be", len(taken)),
        none(f"that ended otherwise {wrong}", len(wrong)),
        seconds("until it has ended, the slowest", max(taken), GONE_WITHIN),
        Figure("starts that can be", len(starts)),
        seconds("until it serves, the slowest", percentile(starts, 100)),
    ]


def _ended(  # noqa: PLR0917
    folder: Path,
    case: str,
    word: str,
    flags: Flags,
    taken: list[float],
    port: str = "0",
) -> list[str]:
    """The case, if its server did not end as it should."""
    begun = time.monotonic()
    with Process(folder, *flags, "--probe_models=false", port=port) as server:
        code = server.process.wait(PATIENCE)
        taken.append(time.monotonic() - begun)
        lines = [
            line
            for line in server.log.splitlines()
            if not _BESIDE.match(line)
            and "][info]" not in line
            and "][warning]" not in line
        ]
    is_told = len(lines) == 1 and word in lines[0] and code
    return [] if is_told else [f"{case}: {code}, {lines}"]


def _started(folder: Path) -> float:
    """Seconds until a server serves that can; it ends when it is told to."""
    folder.mkdir()
    flags = _of(folder)
    begun = time.monotonic()
    with Process(folder, *flags, "--probe_models=false") as server:
        server.ready()
        taken = time.monotonic() - begun
        server.ask_to_stop()
        assert server.code() == 0, server.log
    return taken


def _directory(path: Path) -> str:
    path.mkdir()
    return str(path)


def _broken_model(folder: Path) -> str:
    home = folder / "m" / "1"
    home.mkdir(parents=True)
    (home / "model.xml").write_text("<net>")
    (home / "model.bin").write_bytes(b"")
    return str(folder / "m")

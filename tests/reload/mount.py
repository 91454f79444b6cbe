"""A mounted repository in which every servable tells by its answer which generation of its
files it was made of: asked with zeros it answers with a number.

Each kind of change is a method that takes everything it concerns to a generation.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import grpc
import numpy as np
import openvino as ov
from openvino import opset13 as op

from tests.unit.inference import tiny
from tests.wire import zoo
from tests.wire.calls import arrays, ask, infer

ZEROS: Final = np.zeros((1, 4), np.float32)

# How fast a copy is, and how long a folder is gone: nobody waits for these.
PARTS: Final = 8
PART_SECONDS: Final = 0.1
GONE_SECONDS: Final = 1.2

HANDLER: Final = """
import numpy as np
from pyovms import Tensor

{header}


class OvmsPythonModel:
    def execute(self, inputs):
        return [Tensor("said", np.full((1, 4), {number}, np.float32))]
"""

CALCULATOR: Final = """
import numpy as np

from ovms_mp.calculator import Calculator, Input, Output


class GenerationCalculator(Calculator):
    given = Input(np.ndarray)
    told = Output(np.ndarray)
    timestamp_offset = 0

    def process(self, ctx):
        ctx.send(self.told, ctx[self.given] + np.float32({number}))
"""


def plus(number: float) -> ov.Model:
    """y = x + number."""
    x = tiny.parameter("x", (1, 4))
    constant = op.constant(np.full((1, 4), number, np.float32))
    return tiny.model([tiny.named(op.add(x, constant), "y")], [x])


def through(model: str) -> str:
    """A graph of one model."""
    return zoo.graph(
        ["in"],
        ["out"],
        zoo.session(model),
        zoo.inferring({"x": "in"}, {"y": "out"}),
    )


def write(path: Path, text: str) -> None:
    """In place: the same file, with other contents."""
    with path.open("w") as file:
        file.write(text)


def replace(path: Path, text: str) -> None:
    """As editors and package managers do: another file of the same name."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.rename(path)


def swap(link: Path, target: str) -> None:
    """As the kubelet does: another link takes the name at once."""
    beside = link.with_name("..tmp")
    beside.symlink_to(target)
    beside.rename(link)


class Mount:
    """The folder; `config` is what a server is started with, `calculators` as well."""

    def __init__(self, root: Path) -> None:
        self.root = root / "mount"
        self.calculators = root / "calculators"
        self._models: dict[str, dict[str, Any]] = {}
        self._graphs: dict[str, dict[str, Any]] = {}
        self._scratch = root / "scratch"
        for folder in (self.root, self.calculators, self._scratch):
            folder.mkdir()
        self.config = self.root / "config.json"
        # Handlers of one process share the names of modules.
        self.neighbour = self.root / "by_neighbour" / f"neighbour_{uuid4().hex}.py"
        for name in ("in_place", "versions", "fixed_1", "fixed_2", "own", "mapped"):
            self._version(name, 1, 1)
        self._version("fixed_2", 1, 2)
        for name in ("in_place", "versions", "fixed_1", "fixed_2", "mapped"):
            self._models[name] = {"base_path": name}
        for name in ("copied", "restored"):
            self._models[name] = {"base_path": name}
            (self.root / name).mkdir()
        self._models["moved"] = {"base_path": "fixed_1"}
        self._graph("by_model", through("in_place"))
        self._graph("by_pbtxt", through("fixed_1"))
        self._graph("by_subconfig", through("own"))
        self._graph(
            "by_subgraph",
            zoo.graph(
                ["in"],
                ["out"],
                zoo.node("Part", 'input_stream: "in"', 'output_stream: "out"'),
            ),
        )
        self._graph("by_handler", zoo.words("speaker.py"))
        self._graph("by_neighbour", zoo.words("speaker.py"))
        self._graph(
            "by_calculator",
            zoo.graph(
                ["in"],
                ["out"],
                zoo.node(
                    "GenerationCalculator", 'input_stream: "in"', 'output_stream: "out"'
                ),
            ),
        )
        for name in ("by_link", "by_mount"):
            (self.root / name).mkdir()
            self._graphs[name] = {}
        link = self.root / "by_link" / "graph.pbtxt"
        link.symlink_to("..data/graph.pbtxt")
        self._elsewhere = root / "host.pbtxt"
        (self.root / "by_mount" / "graph.pbtxt").symlink_to(self._elsewhere)
        write(
            self.root / "by_neighbour" / "speaker.py",
            HANDLER.format(
                header=f"import {self.neighbour.stem} as neighbour",
                number="neighbour.NUMBER",
            ),
        )
        for change in CHANGES.values():
            change(self, 1)

    def _version(self, model: str, version: int, number: float) -> Path:
        folder = self.root / model / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        tiny.save(folder, plus(number))
        return folder

    def _graph(self, name: str, pbtxt: str) -> None:
        (self.root / name).mkdir()
        write(self.root / name / "graph.pbtxt", pbtxt)
        self._graphs[name] = {}

    def write_config(self) -> None:
        """What is to be served, as it is now."""
        models = [zoo.entry(name, **keys) for name, keys in self._models.items()]
        graphs = [{"name": name, **keys} for name, keys in self._graphs.items()]
        text = {"model_config_list": models, "mediapipe_config_list": graphs}
        write(self.config, json.dumps(text))

    # Kinds of changes

    def in_place(self, number: int) -> None:
        """A model's files are written to."""
        made = self._scratch / "model"
        made.mkdir(exist_ok=True)
        tiny.save(made, plus(number))
        home = self.root / "in_place" / "1"
        home.mkdir(parents=True, exist_ok=True)
        for suffix in ("bin", "xml"):
            content = (made / f"model.{suffix}").read_bytes()
            with (home / f"model.{suffix}").open("wb") as file:
                file.write(content)

    def versions(self, number: int) -> None:
        """A version is added, and the one before the last goes."""
        made = self._scratch / "version"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        tiny.save(made, plus(number))
        home = self.root / "versions"
        target = home / str(number)
        if not target.exists():
            made.rename(target)
        for old in home.iterdir():
            if int(old.name) < number - 1:
                shutil.rmtree(old)

    def mapped(self, number: int) -> None:
        """A file beside a model gives its output another name."""
        text = json.dumps({"outputs": {"y": f"y_{number}"}})
        replace(self.root / "mapped" / "1" / "mapping_config.json", text)

    def copied(self, number: int) -> None:
        """A version comes as copies come that take their time."""
        made = self._made(number)
        home = self.root / "copied"
        target = home / str(number)
        target.mkdir(exist_ok=True)
        shutil.copy(made / "model.bin", target)
        content = (made / "model.xml").read_bytes()
        part = len(content) // PARTS + 1
        with (target / "model.xml").open("wb") as file:
            for at in range(0, len(content), part):
                file.write(content[at : at + part])
                file.flush()
                time.sleep(PART_SECONDS if number > 1 else 0)
        shutil.rmtree(home / str(number - 2), ignore_errors=True)

    def restored(self, number: int) -> None:
        """A model's folder goes, and comes back with other files in it."""
        home, away = self.root / "restored", self._scratch / "restored"
        home.rename(away)
        time.sleep(GONE_SECONDS if number > 1 else 0)
        shutil.rmtree(away / "1", ignore_errors=True)
        shutil.copytree(self._made(number), away / "1")
        away.rename(home)

    def _made(self, number: int) -> Path:
        made = self._scratch / f"made_{number}"
        made.mkdir(exist_ok=True)
        tiny.save(made, plus(number))
        return made

    def moved(self, number: int) -> None:
        """The config names another folder for a model."""
        self._models["moved"]["base_path"] = f"elsewhere_{number}"
        self._version(f"elsewhere_{number}", 1, number)
        shutil.rmtree(self.root / f"elsewhere_{number - 2}", ignore_errors=True)
        self.write_config()

    def by_pbtxt(self, number: int) -> None:
        """A graph names another model."""
        which = 2 - number % 2
        replace(self.root / "by_pbtxt" / "graph.pbtxt", through(f"fixed_{which}"))

    def by_link(self, number: int) -> None:
        """A ConfigMap is another one: its folder's link is swapped, and the folder before
        is removed at once.
        """
        home = self.root / "by_link"
        (home / f"..{number}").mkdir(exist_ok=True)
        text = through(f"fixed_{2 - number % 2}")
        write(home / f"..{number}" / "graph.pbtxt", text)
        swap(home / "..data", f"..{number}")
        if number > 1:
            shutil.rmtree(home / f"..{number - 1}", ignore_errors=True)

    def by_mount(self, number: int) -> None:
        """A file that is mounted by itself is written to where it is from: in the folder
        nothing happens.
        """
        write(self._elsewhere, through(f"fixed_{2 - number % 2}"))

    def by_subgraph(self, number: int) -> None:
        """A file beside a graph is another subgraph."""
        which = 2 - number % 2
        text = f'type: "Part"\n{through(f"fixed_{which}")}'
        write(self.root / "by_subgraph" / "part.pbtxt", text)

    def by_subconfig(self, number: int) -> None:
        """A graph's own config names another folder for its model."""
        self._version(f"own_{number}", 1, number)
        shutil.rmtree(self.root / f"own_{number - 2}", ignore_errors=True)
        entry = zoo.entry("own", base_path=f"../own_{number}")
        text = json.dumps({"model_config_list": [entry]})
        write(self.root / "by_subconfig" / "subconfig.json", text)

    def by_handler(self, number: int) -> None:
        """A handler's file is replaced."""
        text = HANDLER.format(header="", number=number)
        replace(self.root / "by_handler" / "speaker.py", text)

    def by_neighbour(self, number: int) -> None:
        """So is a file that a handler imports."""
        write(self.neighbour, f"NUMBER = {number}\n")

    def by_calculator(self, number: int) -> None:
        """A calculator of the folder is another one."""
        text = CALCULATOR.format(number=number)
        replace(self.calculators / "generation.py", text)


CHANGES: Final[Mapping[str, Callable[[Mount, int], None]]] = {
    change.__name__: change
    for change in (
        Mount.in_place,
        Mount.versions,
        Mount.mapped,
        Mount.copied,
        Mount.restored,
        Mount.moved,
        Mount.by_pbtxt,
        Mount.by_link,
        Mount.by_mount,
        Mount.by_subgraph,
        Mount.by_subconfig,
        Mount.by_handler,
        Mount.by_neighbour,
        Mount.by_calculator,
    )
}
"""Kinds of changes, by the servable that shows them."""

UNLOADABLE: Final = ("model copied", "model restored")
"""What the log may complain of meanwhile: half a copy, and a folder that is not there."""

TO_AND_FRO: Final = {"by_pbtxt", "by_link", "by_mount", "by_subgraph"}
"""Those that alternate between two numbers: nobody can tell which is the later."""


def expected(name: str, number: int) -> float:
    """What the servable answers in a generation."""
    return 2 - number % 2 if name in TO_AND_FRO else number


_PORTS: Final = {
    **dict.fromkeys(
        ("in_place", "versions", "mapped", "copied", "restored", "moved"), "x"
    ),
    **dict.fromkeys(("by_handler", "by_neighbour"), "word"),
}


def request(name: str) -> Any:
    """What to ask the servable."""
    return ask(name, {_PORTS.get(name, "in"): ZEROS})


def number_in(answer: Any) -> float:
    """What it answered: the same number four times, or in the output's name."""
    ((name, values),) = arrays(answer).items()
    (number,) = {value for row in np.reshape(values, (1, -1)) for value in row}
    return float(name.removeprefix("y_") if name.startswith("y_") else number)


def told(channel: grpc.Channel, name: str) -> float:
    """What the servable answers now."""
    return number_in(infer(channel, request(name)))

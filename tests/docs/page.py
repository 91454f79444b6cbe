"""A page's blocks are carried out in order, in a folder of the page's own.

By language:

    python   runs; the blocks of a page share their names. Functions test_... are called
    pbtxt    is a graph, or nodes of one, that the server would take
    json     is a config.json if it has a model_config_list
    toml     is parsed
    console  each `$ command` runs in bash; lines below it are what it prints.
             `ovms-mp` with a `--port` serves until the page ends or starts another
             server, on a free port; the lines are its log. ELSEWHERE is not run
    text     is what came of the block before: what was printed or raised, or why the
             graph or config is refused
    nothing  a drawing

By the comment directly above:

    <!-- file: PATH -->      the block is that file as well, there before anything runs
                             and written again in its turn; python is not run then
    <!-- skip: REASON -->    nothing happens
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Final

from ovms_mp.core.errors import ServingError
from ovms_mp.repository import config as repository
from ovms_mp.repository.document import parse as parse_json
from ovms_mp.repository.schema import parse_subconfig
from tests.docs import graphs
from tests.docs.blocks import Block, blocks_of
from tests.docs.outcome import matches, normal
from tests.docs.server import DocumentedServer

ELSEWHERE: Final = re.compile(r"make\b|docker\b|pip install \.$")
"""Commands that are known to work by other tests, or cannot run in a test: this is run
by `make`, in an environment that has the repository installed."""

_COMMAND_SECONDS: Final = 50
# Where a page that is read in a checkout has its commands from: first on the path here.
_TOOLS: Final = ".venv/bin/"
# What a page's folder is called on the page.
_FOLDER_ON_PAGE: Final = "/srv"


class Untrue(AssertionError):
    """A page shows what is not so."""


class Page:
    """One page, `name` in messages. `root` is the repository's; a command that takes
    longer than `patience` seconds hangs.
    """

    def __init__(
        self,
        name: str,
        markdown: str,
        folder: Path,
        root: Path,
        *,
        patience: float = _COMMAND_SECONDS,
    ) -> None:
        self._name = name
        self._patience = patience
        self._blocks = list(blocks_of(markdown))
        self._folder = folder
        self._site = folder / ".site"
        self._names: dict[str, Any] = {"__name__": "page"}
        self._server: DocumentedServer | None = None
        (folder / "graphs").symlink_to(root / "graphs")
        (folder / ".venv").symlink_to(sys.prefix)

    def check(self) -> None:
        """Carry out everything. Raises Untrue, or what the page's code raises."""
        with chdir(self._folder), _importing_from(self._site, self._folder):
            try:
                self._check()
            finally:
                if self._server is not None:
                    self._server.stop()

    def _check(self) -> None:
        for block in reversed(self._blocks):
            self._write(block)
        following = [*self._blocks[1:], None]
        for block, after in zip(self._blocks, following, strict=True):
            if block.language == "text" or _is_skipped(block):
                continue
            shown = after if after is not None and after.language == "text" else None
            happened = self._carry_out(block, may_fail=shown is not None)
            if shown is not None and not _is_skipped(shown):
                self._compare(shown, shown.text, happened)
        first = self._blocks[0] if self._blocks else None
        if first and first.language == "text" and not _is_skipped(first):
            raise self._untrue(first, "nothing stands before this text")

    def _carry_out(self, block: Block, *, may_fail: bool) -> str:
        path = self._write(block)
        try:
            return self._act(block, path)
        except _Failed as error:
            if may_fail:
                return str(error)
            raise self._untrue(block, str(error)) from error

    def _write(self, block: Block) -> str:
        """Write the file that a block is, if it is one; returns its path, or nothing."""
        kind, _, path = block.note.partition(": ")
        if kind not in {"", "file", "skip"}:
            raise self._untrue(block, f"unknown comment {block.note!r}")
        if kind != "file":
            return ""
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)
        return path

    def _act(self, block: Block, path: str) -> str:
        match block.language:
            case "python":
                return "" if path else self._python(block)
            case "pbtxt":
                self._pbtxt(block, path)
            case "json":
                self._json(block, path)
            case "toml":
                tomllib.loads(block.text)
            case "console":
                self._console(block)
            case "":
                pass
            case other:
                raise self._untrue(block, f"nobody checks {other}")
        return ""

    def _python(self, block: Block) -> str:
        source = "\n" * (block.line - 1) + self._translated(block.text)
        before = set(self._names)
        printed = io.StringIO()
        with redirect_stdout(printed):
            try:
                code = compile(source, self._name, "exec", dont_inherit=True)
                exec(code, self._names)
                for name in self._names.keys() - before:
                    if name.startswith("test_"):
                        self._names[name]()
            except Exception as error:
                told = f"{type(error).__name__}: {error}".rstrip(": ")
                raise _Failed(printed.getvalue() + told) from error
        return printed.getvalue()

    def _pbtxt(self, block: Block, path: str) -> None:
        file = self._folder / (path or "graph.pbtxt")
        try:
            graphs.check(block.text, file.name, file.parent)
        except ServingError as error:
            raise _Failed(error.text) from error

    def _json(self, block: Block, path: str) -> None:
        if "model_config_list" not in json.loads(block.text):
            return
        try:
            if path.endswith(repository.SUBCONFIG_FILE):
                parse_subconfig(parse_json(block.text.encode(), path))
                return
            file = self._folder / (path or "config.json")
            file.write_text(block.text)
            problems = repository.read(file).problems
        except ServingError as error:
            raise _Failed(self._on_page(error.text)) from error
        if problems:
            told = "\n".join(f"{each.subject}: {each.error.text}" for each in problems)
            raise _Failed(self._on_page(told))

    def _console(self, block: Block) -> None:
        for command, shown in _commands(block.text):
            if ELSEWHERE.match(command):
                continue
            if command.startswith("ovms-mp ") and " --port " in command:
                self._serve(command)
                assert self._server is not None
                happened = self._server.log()
            else:
                happened = self._run(block, command, may_fail=bool(shown))
            if shown:
                self._compare(block, shown, self._on_page(happened))

    def _serve(self, command: str) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None
        self._server = DocumentedServer(command, self._folder, self._environment())

    def _run(self, block: Block, command: str, *, may_fail: bool) -> str:
        done = subprocess.run(
            ("bash", "-c", self._translated(_offline(command, self._site))),
            cwd=self._folder,
            env={**os.environ, **self._environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=self._patience,
            check=False,
        )
        importlib.invalidate_caches()  # the command may have installed something
        if done.returncode and not may_fail:
            raise self._untrue(block, f"{command} failed:\n{done.stdout}")
        return done.stdout

    def _environment(self) -> Mapping[str, str]:
        tools = Path(sys.executable).parent
        return {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(
                filter(None, (str(self._site), os.environ.get("PYTHONPATH")))
            ),
            "COLUMNS": "80",
            # Ours, and none of the reader's business.
            "PYTEST_ADDOPTS": "-p no:asyncio",
        }

    def _translated(self, code: str) -> str:
        return self._server.translated(code) if self._server is not None else code

    def _on_page(self, text: str) -> str:
        return text.replace(str(self._folder), _FOLDER_ON_PAGE)

    def _compare(self, block: Block, shown: str, happened: str) -> None:
        if not matches(shown, happened):
            message = (
                f"the page shows\n{normal(shown)}\n\nbut it is\n{normal(happened)}"
            )
            raise self._untrue(block, message)

    def _untrue(self, block: Block, message: str) -> Untrue:
        return Untrue(f"{self._name}:{block.line}: {message}")


class _Failed(Exception):
    """What a block raises, or why it is refused, as its page may show it."""


def _is_skipped(block: Block) -> bool:
    return block.note.startswith("skip: ")


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Each `$ command`, which backslashes may continue, with the lines below it."""
    joined = text.replace("\\\n", " ")
    for part in re.split(r"^\$ ", joined, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command.removeprefix(_TOOLS), shown


def _offline(command: str, site: Path) -> str:
    """`pip install FOLDER` for this page alone, with the tools of the environment."""
    options = "--quiet --offline --no-deps --no-build-isolation --target"
    return re.sub(r"^pip install\b", f"uv pip install {options} {site}", command)


@contextmanager
def _importing_from(*folders: Path) -> Iterator[None]:
    """What is imported from `folders` within the block is forgotten after it."""
    before = list(sys.path)
    sys.path[:0] = map(str, folders)
    try:
        yield
    finally:
        sys.path[:] = before
        for name, module in tuple(sys.modules.items()):
            origins = [
                getattr(module, "__file__", None),
                *getattr(module, "__path__", ()),
            ]
            if any(Path(o or "").is_relative_to(f) for o in origins for f in folders):
                del sys.modules[name]

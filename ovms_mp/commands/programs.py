"""Commands for pipelines and for people.

Exit codes: 0 if all is well, 1 if something is not, which is printed, 64 for wrong usage.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ovms_mp.commands import benchmarking, explaining, reaching
from ovms_mp.commands.managing import CONFIG_FILE
from ovms_mp.commands.parsing import Parser
from ovms_mp.core.errors import ServingError
from ovms_mp.repository.config import GRAPH_FILE, ModelSpec
from ovms_mp.repository.models import is_model_name
from ovms_mp.settings import Settings, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_SECONDS: Final = 5.0


def run(arguments: Sequence[str]) -> int:
    """Do what the first of `arguments`, a name in PROGRAMS, says with the others. Raises
    UsageError.
    """
    try:
        code = PROGRAMS[arguments[0]](arguments[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has enough, `head` say. The interpreter, too, tries to print the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def validate(arguments: Sequence[str]) -> int:
    """Load what a config or a folder says, as a server would, and print what is wrong."""
    parser = Parser(
        prog="ovms-mp validate",
        description="Loads a config, or the model or graph of a folder, as a server "
        "would, and prints a line for each problem.",
    )
    parser.add_argument(
        "source",
        metavar="DIR|CONFIG",
        help="a config, its folder, or that of a model or graph, or the file of one",
    )
    parser.add_argument("--calculators_path", metavar="DIR", type=Path)
    given = parser.parse_args(arguments)
    calculators: Path | None = given.calculators_path
    problems = _problems(Settings(_source(given.source), calculators_path=calculators))
    for problem in problems:
        print(" ".join(problem.split()))
    return 1 if problems else 0


def _source(text: str) -> Path | ModelSpec:
    path = Path(text).absolute()
    if path.is_dir() and not (path / CONFIG_FILE).is_file():
        return ModelSpec(path.name, path)
    if path.name == GRAPH_FILE and path.is_file():
        return ModelSpec(path.parent.name, path.parent)
    if is_model_name(path) and path.is_file():
        return ModelSpec(path.stem, path)
    if path.suffix == ".pbtxt" and path.is_file():
        here = f"{text} is a graph's: name it in a config as graph_path"
        raise UsageError(f"{here}, or ask `ovms-mp explain`")
    return path / CONFIG_FILE if path.is_dir() else path


def _problems(settings: Settings) -> list[str]:
    # OpenVINO and gRPC are for those who load.
    from ovms_mp.app import App
    from ovms_mp.servable.status import Outcome

    # What a server would log is what is printed.
    logging.getLogger("ovms_mp").addHandler(logging.NullHandler())
    try:
        app = App(settings)
    except (ServingError, UsageError) as error:
        return [str(error)]
    try:
        report = app.check()
    except ServingError as error:
        return [error.text]
    finally:
        app.stop(0)
    wrong = {Outcome.FAILED, Outcome.SKIPPED}
    failed = [each for each in report.changes if each.outcome in wrong]
    problems = [f"{each.kind} {each.name}: {each.reason}" for each in failed]
    return [*problems, report.error] if report.error else problems


def status(arguments: Sequence[str]) -> int:
    """Ask a server what it serves, and print it."""
    parser = Parser(
        prog="ovms-mp status",
        description="Asks a server over gRPC what becomes of its models and graphs, and "
        "why what is not served as its files say is not.",
    )
    parser.add_argument("address", metavar="ADDRESS", help="host:port")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=_SECONDS, help="default 5"
    )
    reaching.add_flags(parser)
    given = parser.parse_args(arguments)
    address: str = given.address
    from ovms_mp.frontend.grpc.asking import NoAnswer, ask
    from ovms_mp.servable.description import State

    try:
        answer = ask(address, given.timeout, reaching.access(given))
    except NoAnswer as error:
        print(f"{address}: {error}")
        return 1
    print(f"{address} is {'ready' if answer.is_ready else 'not ready'}")
    width = max((len(each.name) for each in answer.servables), default=0)
    for each in answer.servables:
        line = f"{each.name:{width}}  {each.version or '-':>4}  {each.state.value:<11}"
        is_retired = each.state is State.UNAVAILABLE and not each.reason
        reason = "is not wanted any more" if is_retired else each.reason
        print(f"{line}  {' '.join(reason.split())}".rstrip())
    is_well = answer.is_ready and not any(each.reason for each in answer.servables)
    return 0 if is_well else 1


PROGRAMS: Final[Mapping[str, Callable[[Sequence[str]], int]]] = {
    "validate": validate,
    "explain": explaining.explain,
    "status": status,
    "bench": benchmarking.bench,
}

"""R4: whatever a client, a mounted file or a handler says, the server lives, and tells
whose fault it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

from hypothesis import strategies as st

from tests.fuzz import configs, http_requests, kserve_messages, pbtxts, tensors
from tests.fuzz.fuzzing import fuzz
from tests.gates.gate import Figure, Run, none
from tests.gates.kinds import STATELESS
from tests.gates.subject import Subject, build
from tests.python_nodes import site
from tests.wire.calls import connect, infer

Judge = Callable[[Any], str]

SHARES: Final = {
    "messages to ModelInfer": 0.35,
    "conversations on ModelStreamInfer": 0.1,
    "messages to other methods": 0.05,
    "requests over HTTP": 0.25,
    "configs": 0.1,
    "tensors here": 0.04,
    "tensors of a handler": 0.03,
    "tensors of a handler in a process of its own": 0.03,
    "graphs": 0.05,
}
"""Of all examples, by what they cost; the dearest last, for which time may be left."""

# Handlers are given nonsense, and fail; that is in the log.
EXPECTED: Final = (
    *("graph words", "graph aside", "graph inside", "graph outside"),
    *("Calculator::Process() for node", "    Traceback", "are not shown"),
)


def told(run: Run) -> list[Figure]:
    """Messages, requests, graphs, configs and tensors in which something is wrong, by the
    thousand: none ends the server, or is answered as a fault of its own, in more than a
    line, or too late.
    """
    handler = {"handler": tensors.HANDLER}
    graphs = {
        "inside": (site.graph(), handler),
        "outside": (site.graph(options=site.PROCESS), handler),
    }
    figures: list[Figure] = []
    refused = Counter[str]()
    folders = {each: run.folder / each for each in ("pbtxts", "configs")}
    for each in folders.values():
        each.mkdir()
    with ExitStack() as stack:
        config = build(run.folder, **graphs)
        subject = stack.enter_context(Subject(run.folder, "--config_path", str(config)))
        channel = stack.enter_context(connect(subject.ready()))
        for kind in STATELESS:
            infer(channel, kind.ask(1))
        before = subject.state()
        messages = kserve_messages.Judge(channel)
        targets: list[tuple[st.SearchStrategy[Any], Judge]] = [
            (kserve_messages.messages(), messages.call),
            (kserve_messages.CONVERSATIONS, messages.stream),
            (kserve_messages.QUESTIONS, messages.question),
            (http_requests.wires(), http_requests.Judge(subject.rest)),
            (configs.texts(), configs.Judge(folders["configs"])),
            (tensors.RECIPES, tensors.judge),
            (tensors.RECIPES, tensors.Judge(channel, "inside")),
            (tensors.RECIPES, tensors.Judge(channel, "outside")),
            (pbtxts.texts(), pbtxts.Judge(folders["pbtxts"])),
        ]
        for number, ((name, share), (strategy, judge)) in enumerate(
            zip(SHARES.items(), targets, strict=True)
        ):
            found = fuzz(
                strategy,
                judge,
                max(1, math.ceil(run.size * share)),
                run.share_of(number, len(targets)),
            )
            refused += found
            figures.append(Figure(name, found.total(), at_least=1))
        unanswered = sum(
            not kind.is_answered(infer(channel, kind.ask(2)), 2) for kind in STATELESS
        )
        return [
            *figures,
            Figure("that were as good as right", refused["OK"] + refused["200"]),
            none("right ones that are not answered afterwards", unanswered),
            *subject.left(before, expected=EXPECTED),
        ]
